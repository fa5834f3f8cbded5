package kube

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// without takes some of root's abilities from the goroutine of a test, which ends with its thread.
func without(t *testing.T, abilities ...int) {
	t.Helper()
	runtime.LockOSThread()
	header, has := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	if err := unix.Capget(&header, &has[0]); err != nil {
		t.Fatal(err)
	}
	for _, n := range abilities {
		has[n/32].Effective &^= 1 << (n % 32)
		has[n/32].Permitted &^= 1 << (n % 32)
	}
	if err := unix.Capset(&header, &has[0]); err != nil {
		t.Fatal(err)
	}
}

// TestTheOwnerOfAFileStays: rekindle may run as root for a user.
func TestTheOwnerOfAFileStays(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a file can be given to somebody by root only")
	}
	for name, forbidden := range map[string]bool{"it is given to the owner": false, "that is not permitted": true} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config")
			if err := errors.Join(os.WriteFile(file, []byte(foreign), 0o600), os.Chown(file, 12345, 23456)); err != nil {
				t.Skipf("a file cannot be given to somebody here: %v", err)
			}
			if forbidden {
				without(t, unix.CAP_CHOWN)
			}
			merge(t, file, "a", "https://a", true)
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if st := info.Sys().(*syscall.Stat_t); st.Uid != 12345 || st.Gid != 23456 || info.Mode().Perm() != 0o600 {
				t.Errorf("it belongs to %d, %d, with mode %v", st.Uid, st.Gid, info.Mode())
			}
			if c := read(t, file); c.CurrentContext != "a" || len(c.Contexts) != 2 {
				t.Errorf("it has %v", c.Contexts)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".kubeconfig-*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// TestAFileThatCannotBeWrittenIsKnownBeforehand: not only when the cluster exists.
func TestAFileThatCannotBeWrittenIsKnownBeforehand(t *testing.T) {
	for name, path := range map[string]string{
		"its folder": "closed/config", "a folder above it": "closed/new/folder/config", "the folder behind a link": "link", "a link to a folder": "folder/config",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := errors.Join(os.Mkdir(filepath.Join(dir, "closed"), 0o500),
				os.Symlink("closed/config", filepath.Join(dir, "link")), os.Symlink("closed", filepath.Join(dir, "folder")))
			if err != nil {
				t.Fatal(err)
			}
			if os.Getuid() == 0 {
				without(t, unix.CAP_DAC_OVERRIDE)
			}
			unwritable(t, filepath.Join(dir, path), filepath.Join(dir, "closed"))
			open := filepath.Join(dir, "new", "config")
			if err := Writable(open, Entry{Name: "a"}, true); err != nil {
				t.Errorf("one that can be written: %v", err)
			}
			if _, err := os.Stat(filepath.Dir(open)); err == nil {
				t.Error("it makes folders")
			}
		})
	}
}

// unwritable expects that a file is refused because of a place.
func unwritable(t *testing.T, file, place string) {
	t.Helper()
	err := Writable(file, Entry{Name: "a"}, false)
	if fault.Code(err) != fault.ExitRefused || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), place) ||
		!strings.Contains(strings.Join(fault.Hints(err), ""), "--kubeconfig FILE") {
		t.Errorf("%v, hints %q", err, fault.Hints(err))
	}
}

// TestAReadOnlyMountIsWrittenOnlyWhenNeeded: an entry that is there already, as it is to be, needs no lock.
func TestAReadOnlyMountIsWrittenOnlyWhenNeeded(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a folder can be mounted by root only")
	}
	folder := filepath.Join(t.TempDir(), "mounted")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, ""); err != nil {
		t.Skipf("a folder cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	file, other := filepath.Join(folder, "config"), filepath.Join(folder, "other")
	merge(t, file, "a", "https://a", false)
	if err := syscall.Mount("", folder, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("a folder cannot be made read-only here: %v", err)
	}
	if err := Writable(file, Entry{Name: "a"}, false); err != nil {
		t.Errorf("an entry that is there: %v", err)
	}
	if changed, err := Merge(t.Context(), file, Entry{Name: "a"}, entry("https://a"), false); err != nil || changed {
		t.Errorf("it is merged again: %v, %v", changed, err)
	}
	unwritable(t, other, folder)
	if err := Writable(file, Entry{Name: "a"}, true); fault.Code(err) != fault.ExitRefused {
		t.Errorf("its context is to be the current one: %v", err)
	}
}

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
