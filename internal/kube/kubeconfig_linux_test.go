package kube

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAMountedFileIsWrittenInItsPlace: no other can be put there, as into a container that got just that file.
func TestAMountedFileIsWrittenInItsPlace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a file can be mounted by root only")
	}
	dir := t.TempDir()
	real, mounted := filepath.Join(dir, "real"), filepath.Join(dir, "mounted")
	long := foreign + "# " + strings.Repeat("x", 5000) + "\n" // what is written is shorter
	if err := errors.Join(os.WriteFile(real, []byte(long), 0o644), os.WriteFile(mounted, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(real, mounted, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("a file cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mounted, 0); err != nil {
			t.Error(err)
		}
	})
	merge(t, mounted, "a", "https://a", true)
	if c := read(t, real); c.CurrentContext != "a" || len(c.Contexts) != 2 {
		t.Errorf("the mounted file has %v", c.Contexts)
	}
	if info, err := os.Stat(real); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if changed, err := Remove(t.Context(), mounted, Entry{Name: "a"}); err != nil || !changed {
		t.Errorf("remove: %v, %v", changed, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".kubeconfig-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
