package kube

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// edit changes a kubeconfig under its lock. A change that leaves it equal does not touch the file; one
// that does not want it kept removes it.
func edit(ctx context.Context, file string,
	change func(config *clientcmdapi.Config, exists bool) (keep bool, err error)) (changed bool, err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return false, fault.Wrap(err, fault.Failed, "make its folder").On("kubeconfig %s", file)
	}
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	}
	unlock, err := lock(ctx, file)
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

// replace writes a file as a whole or not at all, readable for its owner only.
func replace(file string, content []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(file), ".kubeconfig-*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = temp.Write(content)
	if err == nil {
		err = temp.Sync()
	}
	if closing := temp.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}
