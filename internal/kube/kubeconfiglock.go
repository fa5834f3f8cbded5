package kube

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// lockTime is how long others may hold a kubeconfig before that is an error. A burst of runs takes it in turn, each for as long as
// the disk needs.
const lockTime = 30 * time.Second

// lockMark is what a lock of ours holds, by which it is told from one of kubectl, which is empty.
const lockMark = "rekindle\n"

// lock takes the lock that client-go and kubectl take, a file that exists, and returns what frees it.
//
// A process that is killed leaves that file, and with kubectl's nobody can tell. Ours is locked by the kernel
// too, which ends with the process: one that is not locked any more is taken over.
func lock(ctx context.Context, file string) (unlock func(), err error) {
	name := file + ".lock"
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	var held *os.File
	free := wait.Func(name+" to be free", func(context.Context) (bool, string, error) {
		var err error
		if held, err = takeOver(name); errors.Is(err, fs.ErrNotExist) {
			held, err = makeLock(name)
		}
		return held != nil, "another process holds it", err
	})
	if err := wait.Poll(ctx, free, 200*time.Millisecond, nil); err != nil {
		return nil, fault.Wrap(err, fault.Failed, "lock").On("kubeconfig %s", file).
			WithHint("if no kubectl runs that writes it, remove %s", name)
	}
	return func() {
		_ = os.Remove(name) // one left behind is taken over
		_ = held.Close()
	}, nil
}

// lockAll takes the locks of some files, in their order.
func lockAll(ctx context.Context, files []string) (unlock func(), err error) {
	var held []func()
	unlock = func() {
		for _, free := range held {
			free()
		}
	}
	for _, file := range files {
		free, err := lock(ctx, file)
		if err != nil {
			unlock()
			return nil, err
		}
		held = append(held, free)
	}
	return unlock, nil
}

// makeLock makes the file, with mark and the kernel's lock from its first moment. It gives nil when another process was
// faster.
func makeLock(name string) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".kubeconfig-lock-*")
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		_, err = f.WriteString(lockMark)
	}
	if err == nil {
		err = os.Link(f.Name(), name)
	}
	removed := os.Remove(f.Name())
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, errors.Join(removed, f.Close())
	case err != nil || removed != nil:
		return nil, errors.Join(err, removed, f.Close())
	}
	return f, nil
}

// takeOver gives the file that a killed process of ours left, locked, and nil for one that is held.
func takeOver(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, nil // kubectl's has no mode
	}
	if err != nil {
		return nil, err
	}
	content := make([]byte, len(lockMark)+1)
	n, _ := f.Read(content)
	if string(content[:n]) != lockMark || syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return nil, f.Close()
	}
	// Its holder may have freed it between our opening and our locking.
	ours, err := f.Stat()
	if err == nil {
		var there os.FileInfo
		if there, err = os.Stat(name); err == nil && os.SameFile(ours, there) {
			return f, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return nil, errors.Join(err, f.Close())
}
