package kube

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// edit changes a kubeconfig under its lock. A change that leaves it equal does not touch the file; one
// that does not want it kept removes it.
func edit(ctx context.Context, file string,
	change func(config *clientcmdapi.Config, exists bool) (keep bool, err error)) (changed bool, err error) {
	name, file, err := targetOf(file)
	if err != nil {
		return false, fault.Wrap(err, fault.Failed, "follow its links").On("kubeconfig %s", file)
	}
	unlock, err := lockAll(ctx, slices.Compact([]string{name, file})) // kubectl locks the name by which it knows it
	if err != nil {
		return false, err
	}
	defer unlock()
	_, err = os.Stat(file)
	exists := err == nil
	config, err := load(file)
	if err != nil {
		return false, err
	}
	before, err := clientcmd.Write(*config)
	if err != nil {
		return false, fault.Wrap(err, fault.Failed, "encode").On("kubeconfig %s", file)
	}
	keep, err := change(config, exists)
	if err != nil {
		return false, err
	}
	if !keep {
		return true, os.Remove(file)
	}
	after, err := clientcmd.Write(*config)
	if err != nil {
		return false, fault.Wrap(err, fault.Failed, "encode").On("kubeconfig %s", file)
	}
	if bytes.Equal(before, after) {
		return false, nil
	}
	if err := replace(file, after); err != nil {
		return false, fault.Wrap(err, fault.Failed, "write").On("kubeconfig %s", file)
	}
	return true, nil
}

// mostLinks is how many may follow one another, as in the kernel.
const mostLinks = 40

// targetOf resolves symbolic links: name is the file without those on the way to it, and target what it leads to, which
// need not exist. The folders of both do after it.
func targetOf(file string) (name, target string, err error) {
	for range mostLinks {
		folder := filepath.Dir(file)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return "", file, err
		}
		if folder, err = filepath.EvalSymlinks(folder); err != nil {
			return "", file, err
		}
		target = filepath.Join(folder, filepath.Base(file))
		if name == "" {
			name = target
		}
		to, err := os.Readlink(target)
		if err != nil { // it is no link, or is not there
			return name, target, nil
		}
		if file = to; !filepath.IsAbs(to) {
			file = filepath.Join(folder, to)
		}
	}
	return "", file, syscall.ELOOP
}

// replace writes a file as a whole or not at all, readable for its owner only, who stays the same. One that is mounted, as into a
// container, can only be written where it is, and so can one that this process may not give to its owner.
func replace(file string, content []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(file), ".kubeconfig-*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = temp.Write(content)
	if err == nil {
		err = temp.Sync()
	}
	if err == nil {
		err = handOver(temp, file)
	}
	if closing := temp.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err == nil {
		return nil
	}
	inPlace := errors.Is(err, syscall.EBUSY) || errors.Is(err, errOwner)
	if removed := os.Remove(temp.Name()); !inPlace || removed != nil {
		return errors.Join(err, removed)
	}
	return overwrite(file, content)
}

// errOwner is for a file that this process may not give to somebody else.
var errOwner = errors.New("the owner of the file cannot be kept")

// handOver gives a file the owner and the group of the one in whose place it comes: rekindle may run as root for a user, who has to be
// able to read it afterwards.
func handOver(temp *os.File, file string) error {
	theirs, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	mine, err := temp.Stat()
	if err != nil {
		return err
	}
	from, known := mine.Sys().(*syscall.Stat_t)
	to, alsoKnown := theirs.Sys().(*syscall.Stat_t)
	if !known || !alsoKnown || from.Uid == to.Uid && from.Gid == to.Gid {
		return nil
	}
	err = temp.Chown(int(to.Uid), int(to.Gid))
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) { // the latter where a container does not know that user
		return errOwner
	}
	return err
}

// overwrite writes a file in its place.
func overwrite(file string, content []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().Perm() != 0o600 { // somebody else's cannot be changed, and need not be
		err = f.Chmod(0o600)
	}
	if err == nil {
		_, err = f.WriteAt(content, 0)
	}
	if err == nil {
		err = f.Truncate(int64(len(content)))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
