package kind

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/rekindle-dev/rekindle/internal/folders"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// exclusively runs f while no other run on this machine makes or removes the cluster of this name:
// what is being made would look half-made to another, and be removed. The lock is a file that is
// removed at the end, so that nothing of a cluster is left.
func exclusively(ctx context.Context, name string, progress plan.Progress, f func() error) error {
	dir, err := workDir()
	if err != nil {
		return err
	}
	file := filepath.Join(dir, name+".lock")
	lock := flock.New(file)
	free := wait.Func("another run works on cluster "+name, func(context.Context) (bool, string, error) {
		err := folders.Private(dir) // its last user may remove it at any time
		if errors.Is(err, os.ErrNotExist) {
			return false, "", nil
		}
		if err != nil {
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
		_ = os.RemoveAll(filepath.Join(dir, name)) // the scratch folder, also that of a killed run
		_ = os.Remove(file)
		_ = lock.Unlock()
		_ = os.Remove(dir) // when it is empty
	}()
	return f()
}

// workDir is the folder of what lives as long as a run: locks, and the kubeconfig that kind wants to write. It is among what
// is this user's alone: of a folder for all, as that of temporary files is, another user could make ours before we do.
func workDir() (string, error) {
	state, err := folders.State()
	return filepath.Join(state, "kind"), err
}

// scratch makes the folder for a cluster's kubeconfig while kind makes it. It goes with the lock.
func scratch(name string) (string, error) {
	work, err := workDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(work, name)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, folders.Private(dir)
}

// same says whether the locked file is still the one of that name.
func same(lock *flock.Flock, file string) bool {
	mine, err := lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(file)
	return !errors.Is(err, os.ErrNotExist) && err == nil && os.SameFile(mine, there)
}
