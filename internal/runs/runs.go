// Package runs keeps a record on this machine of each run that makes an ephemeral cluster, so that what
// a killed run leaves can be told from what a living one uses. The cluster itself carries its run and its
// end (see providers); a record is what is beside it: the run's own kubeconfig.
//
// A record is a folder with a lock that its run holds for as long as it lives: no process id is trusted.
package runs

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

const (
	recordName = "run.json"
	lockName   = "lock"
	idBytes    = 3
)

// Record is what is known of a run.
type Record struct {
	ID       string    `json:"id"`
	Provider string    `json:"provider"`
	Cluster  string    `json:"cluster"`            // its name
	Location string    `json:"location,omitempty"` // where the provider has more than one place
	Started  time.Time `json:"started"`
	Expires  time.Time `json:"expires"`
	Kept     bool      `json:"kept,omitempty"` // the run has ended and left its cluster for a person to look at
}

// Folder holds the records of one user.
type Folder string

// In is the folder of the records in the folder of rekindle's state.
func In(state string) Folder { return Folder(filepath.Join(state, "runs")) }

// Run is a living run: it holds its record's lock.
type Run struct {
	Record
	dir  string
	lock *flock.Flock
}

// NewID makes an id for a run: short enough for a name, long enough not to collide.
func NewID() string {
	var id [idBytes]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// exclusively calls do while nobody else begins a run, ends one, or looks for old ones: a folder that is just being made looks
// like one that was left, and in one that is just being removed a look would make a lock.
func (f Folder) exclusively(do func() error) (err error) {
	if err := os.MkdirAll(filepath.Dir(string(f)), 0o700); err != nil {
		return err
	}
	lock := flock.New(string(f) + ".lock")
	if err := lock.Lock(); err != nil { // held for milliseconds
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	return do()
}

// Begin records a run, before anything of its cluster exists.
func (f Folder) Begin(r Record) (*Run, error) {
	run := &Run{Record: r, dir: filepath.Join(string(f), r.ID)}
	if err := f.exclusively(run.begin); err != nil {
		return nil, unwritable(err, run.dir)
	}
	return run, nil
}

func (r *Run) begin() error {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	r.lock = flock.New(filepath.Join(r.dir, lockName))
	held, err := r.lock.TryLock()
	if err == nil && !held {
		return errors.Join(errors.New("another run has this id"), r.lock.Close())
	}
	if err == nil {
		err = r.write()
	}
	if err != nil {
		return errors.Join(err, forget(r.dir, r.lock))
	}
	return nil
}

// forget removes a record. It lets go of the lock before: on NFS a file that is open stays, and its folder with it.
func forget(dir string, lock *flock.Flock) error {
	return errors.Join(lock.Unlock(), os.RemoveAll(dir))
}

func unwritable(err error, dir string) error {
	return fault.Wrap(err, fault.Failed, "record the run").
		WithHint("make %s writable, or set XDG_STATE_HOME to another folder", dir)
}

// write makes the record's file at once or not at all.
func (r *Run) write() error {
	raw, err := json.Marshal(r.Record)
	if err != nil {
		return err
	}
	file := filepath.Join(r.dir, recordName)
	if err := os.WriteFile(file+".new", append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// Kubeconfig is the path of the run's own kubeconfig.
func (r *Run) Kubeconfig() string { return filepath.Join(r.dir, "kubeconfig") }

// Keep ends the run and leaves its record, for a cluster that stays until it expires.
func (r *Run) Keep() error {
	r.Kept = true
	return errors.Join(r.write(), r.lock.Unlock())
}

// End ends the run and removes its record: its cluster is gone.
func (r *Run) End() error {
	return Folder(filepath.Dir(r.dir)).exclusively(func() error { return forget(r.dir, r.lock) })
}

// Old is the record of a run that does not live any more.
type Old struct {
	Record
	dir  string
	lock *flock.Flock
}

// Remove removes the record.
func (o *Old) Remove() error {
	return Folder(filepath.Dir(o.dir)).exclusively(func() error { return forget(o.dir, o.lock) })
}

// Release lets go of the record and leaves it.
func (o *Old) Release() error { return o.lock.Unlock() }

// Old gives the records of runs that do not live any more. They are locked until Remove or Release, so
// that no two callers collect one. A folder without a record is one of a run that was killed as it began.
func (f Folder) Old() (all []*Old, err error) {
	if _, err := os.Stat(string(f)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	err = f.exclusively(func() error {
		ids, err := f.ids()
		for _, id := range ids {
			old := &Old{Record: Record{ID: id}, dir: filepath.Join(string(f), id)}
			old.lock = flock.New(filepath.Join(old.dir, lockName))
			if held, err := old.lock.TryLock(); err != nil || !held {
				continue // it lives
			}
			_ = read(old.dir, &old.Record) // what is no record is none of a cluster
			all = append(all, old)
		}
		return err
	})
	return all, err
}

// Records gives the records of all runs, also of those that live.
func (f Folder) Records() ([]Record, error) {
	ids, err := f.ids()
	var all []Record
	for _, id := range ids {
		var r Record
		if read(filepath.Join(string(f), id), &r) == nil { // else it has just begun, or ended
			all = append(all, r)
		}
	}
	return all, err
}

// ids are the names of the folders of records.
func (f Folder) ids() ([]string, error) {
	entries, err := os.ReadDir(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the runs: %w", err)
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.Name()
	}
	return ids, nil
}

func read(dir string, r *Record) error {
	raw, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, r)
}
