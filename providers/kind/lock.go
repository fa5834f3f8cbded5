package kind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// exclusively runs f while no other run on this machine makes or removes the cluster of this name:
// what is being made would look half-made to another, and be removed. The lock is a file that is
// removed at the end, so that nothing of a cluster is left.
func exclusively(ctx context.Context, name string, progress plan.Progress, f func() error) error {
	dir := workDir()
	file := filepath.Join(dir, name+".lock")
	lock := flock.New(file)
	free := wait.Func("another run works on cluster "+name, func(context.Context) (bool, string, error) {
		if err := os.MkdirAll(dir, 0o700); err != nil { // its last user may remove it at any time
			return false, "", err
		}
		ok, err := lock.TryLock()
		if errors.Is(err, os.ErrNotExist) {
			return false, "", nil
		}
		if !ok || err != nil {
			return false, "", err
		}
		if same(lock, file) {
			return true, "", nil
		}
		return false, "", lock.Unlock() // its last holder removed it just now: there is another file
	})
	if err := wait.Poll(ctx, free, 200*time.Millisecond, progress); err != nil {
		return err
	}
	defer func() {
		_ = os.Remove(file)
		_ = lock.Unlock()
		_ = os.Remove(dir) // when it is empty
	}()
	return f()
}

// workDir is the folder of what lives as long as a run: locks, and the kubeconfig that kind wants to write.
func workDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("rekindle-kind-%d", os.Getuid()))
}

// scratch is the folder for a cluster's kubeconfig while kind makes it. One that a killed run left goes
// with the next run, or with the cluster.
func scratch(name string) string { return filepath.Join(workDir(), name) }

// same says whether the locked file is still the one of that name.
func same(lock *flock.Flock, file string) bool {
	mine, err := lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(file)
	return !errors.Is(err, os.ErrNotExist) && err == nil && os.SameFile(mine, there)
}
