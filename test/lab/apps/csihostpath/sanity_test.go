package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"google.golang.org/grpc"
)

// folders stands for the kernel's mounts, which only root may make.
type folders struct{}

func (folders) mount(from, to string, _ bool) error {
	if err := os.Remove(to); err != nil {
		return err
	}
	return os.Symlink(from, to)
}

func (folders) unmount(at string) error {
	if info, err := os.Lstat(at); err != nil || info.Mode()&os.ModeSymlink == 0 {
		return nil // it is not mounted
	}
	if err := os.Remove(at); err != nil {
		return err
	}
	return os.Mkdir(at, 0o750)
}

// TestItIsACSIDriver by the suite that the CSI's own community has for drivers.
func TestItIsACSIDriver(t *testing.T) {
	dir := t.TempDir()
	s, err := openStore(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "csi.sock"))
	if err != nil {
		t.Fatal(err)
	}
	driver := grpc.NewServer()
	register(driver, newServer(s, "node-1", folders{}))
	go func() { _ = driver.Serve(l) }() // it ends with the test
	defer driver.Stop()

	config := sanity.NewTestConfig()
	config.Address = l.Addr().String()
	config.TargetPath, config.StagingPath = filepath.Join(dir, "target"), filepath.Join(dir, "staging")
	config.TestVolumeSize = 1 << 20
	sanity.Test(t, config)
}
