package kwok

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/folders"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
)

// mark says that a folder is a cluster of ours, and what it was made from.
type mark struct {
	Owner   string    `json:"owner"` // always providers.Owner
	Cluster string    `json:"cluster"`
	Hash    string    `json:"specHash"`
	Version string    `json:"version"`
	Run     string    `json:"run,omitempty"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
	Ready   bool      `json:"ready"` // an Ensure came to its end
}

// markName is the file of the mark.
const markName = "cluster.json"

// state is the folder that holds the clusters of one user.
type state string

func (s state) clusters() string           { return filepath.Join(string(s), "clusters") }
func (s state) cluster(name string) string { return filepath.Join(s.clusters(), name) }

// making and trash are the names that a cluster's folder has before it is complete and after it has
// begun to be removed. A cluster's name has no dot, so they are no clusters.
func (s state) making(name string) string { return filepath.Join(s.clusters(), ".making."+name) }
func (s state) trash(name string) string {
	return filepath.Join(s.clusters(), ".trash."+name+"."+rand.Text()[:8])
}

// minFree is the room that a new cluster needs, in bytes: etcd alone begins with two files of 64 MB.
const minFree = 300 << 20

// room looks whether a cluster fits on the disk.
func (s state) room() error {
	dir := string(s)
	for { // the first folder that exists
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	free, err := folders.Free(dir)
	if err != nil {
		return nil //nolint:nilerr // what cannot be asked is left to the first write
	}
	if free < minFree {
		return fault.New(fault.Failed, "only %d MiB are free in %s, a cluster needs %d", free>>20, dir, minFree>>20).On("disk").
			WithHint("make room, or set XDG_STATE_HOME to a folder on another disk")
	}
	return nil
}

// exclusively runs f while no other caller changes the cluster of this name. Its lock is a file beside the
// clusters, which goes with its cluster: who waited for a lock whose file has gone takes a new one.
func (s state) exclusively(ctx context.Context, name string, p plan.Progress, f func() error) error {
	dir := filepath.Join(string(s), "locks")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Wrap(err, fault.Failed, "write the folder of the kwok provider's clusters").
			WithHint("make room in %s, or make it writable, or set XDG_STATE_HOME to another folder", s)
	}
	file := filepath.Join(dir, name+".lock")
	lock := flock.New(file)
	free := wait.Func("another run works on cluster "+name, func(context.Context) (bool, string, error) {
		ok, err := lock.TryLock()
		if !ok || err != nil || isAt(lock, file) {
			return ok, "", err
		}
		err = lock.Close()
		lock = flock.New(file)
		return false, "", err
	})
	if err := wait.Poll(ctx, free, 200*time.Millisecond, p); err != nil {
		return err
	}
	err := f()
	if _, gone := os.Lstat(s.cluster(name)); errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, os.Remove(file))
	}
	return errors.Join(err, lock.Unlock())
}

// isAt says whether the lock's file is the one of that path, and not one that was removed.
func isAt(lock *flock.Flock, path string) bool {
	held, err := lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(held, there)
}

// readMark gives the mark of a cluster: providers.ErrNotFound when there is no such folder and
// providers.ErrNotOwned when it has no mark of ours.
func (s state) readMark(name string) (mark, error) {
	var m mark
	raw, err := os.ReadFile(filepath.Join(s.cluster(name), markName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(s.cluster(name)); errors.Is(err, fs.ErrNotExist) {
			return m, providers.ErrNotFound
		}
		return m, providers.ErrNotOwned
	case errors.Is(err, syscall.ENOTDIR):
		return m, providers.ErrNotOwned
	case err != nil:
		return m, err
	}
	if json.Unmarshal(raw, &m) != nil || m.Owner != providers.Owner || m.Cluster != name {
		return mark{}, providers.ErrNotOwned
	}
	return m, nil
}

// names lists the clusters of ours.
func (s state) names() ([]string, error) {
	entries, err := os.ReadDir(s.clusters())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if _, err := s.readMark(e.Name()); err == nil {
			names = append(names, e.Name())
		} else if !errors.Is(err, providers.ErrNotOwned) && !errors.Is(err, providers.ErrNotFound) {
			return nil, err
		}
	}
	return names, nil
}

// remains lists what killed runs left of the cluster: folders that were being made or removed.
func (s state) remains(name string) ([]string, error) {
	entries, err := os.ReadDir(s.clusters())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if e.Name() == ".making."+name || strings.HasPrefix(e.Name(), ".trash."+name+".") {
			paths = append(paths, filepath.Join(s.clusters(), e.Name()))
		}
	}
	return paths, nil
}

// sweep removes the remains. The caller has exclusive use of the name.
func (s state) sweep(name string) error {
	paths, err := s.remains(name)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove what is left of cluster %s: %w", name, err)
		}
	}
	return nil
}

// writeJSON replaces a file as a whole.
func writeJSON(path string, value any) error {
	raw, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, append(raw, '\n'))
}

// writeFile replaces a file as a whole. Nobody but the user can read it.
func writeFile(path string, raw []byte) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}
