package kube

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// Writable is an error, of the kind Refused, if Merge surely could not write what it would have to. It changes nothing. An entry that is the
// cluster's own already may stay as it is, and is no reason to write.
func Writable(path string, e Entry, use bool) error {
	files := kubeconfigFiles(path)
	entries, current := chooseFile(files, e.Name), defaultFile(files)
	config, err := load(entries)
	if err != nil {
		return err
	}
	_, inUse, err := currentContexts(files, current)
	if err != nil {
		return err
	}
	var written []string
	switch _, ours := markOf(config, e.Name); {
	case use && inUse != e.Name:
		written = []string{entries, current}
	case !ours:
		written = []string{entries}
	}
	var faults []error
	for _, file := range slices.Compact(written) {
		faults = append(faults, refused(file))
	}
	return fault.Join(faults...)
}

// refused is an error if the system does not let a kubeconfig be written. A file that may not be written is replaced by another, unless it
// is mounted; what is asked of the folder is that, and the lock.
func refused(file string) error {
	name, target := leadsTo(file)
	err := unix.Access(target, unix.W_OK)
	where := target
	if !errors.Is(err, syscall.EROFS) {
		where, err = closed(filepath.Dir(name), filepath.Dir(target))
	}
	if err == nil {
		return nil
	}
	return fault.Wrap(err, fault.Refused, "cannot be written: %s", where).On("kubeconfig %s", file).
		WithHint("choose a file that can be written, with --kubeconfig FILE or the variable KUBECONFIG")
}

// closed gives the first of some folders that may not be written, or the nearest parent of one that does not exist.
func closed(folders ...string) (string, error) {
	for _, folder := range folders {
		err := unix.Access(folder, unix.W_OK|unix.X_OK)
		for errors.Is(err, fs.ErrNotExist) && folder != filepath.Dir(folder) {
			folder = filepath.Dir(folder)
			err = unix.Access(folder, unix.W_OK|unix.X_OK)
		}
		if errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EACCES) {
			return folder, err
		}
	}
	return "", nil
}

// leadsTo is targetOf for a look: it makes no folders, and ends where it does not get on.
func leadsTo(file string) (name, target string) {
	for range mostLinks {
		target = file
		if folder, err := filepath.EvalSymlinks(filepath.Dir(file)); err == nil {
			target = filepath.Join(folder, filepath.Base(file))
		}
		if name == "" {
			name = target
		}
		to, err := os.Readlink(target)
		if err != nil {
			break
		}
		if file = to; !filepath.IsAbs(to) {
			file = filepath.Join(filepath.Dir(target), to)
		}
	}
	return name, target
}
