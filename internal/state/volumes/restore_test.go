package volumes

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// TestARestoreMendsWhatDoesNotLookChanged runs restic with the arguments of movers, on folders: a bit that changed in a
// file whose size and time did not is put right, and what is there besides goes.
func TestARestoreMendsWhatDoesNotLookChanged(t *testing.T) {
	cache, err := assets.Open("")
	if err != nil {
		t.Fatal(err)
	}
	program, err := cache.Get(t.Context(), state.ResticAsset(), nil)
	if err != nil {
		t.Fatal(err)
	}
	from, to, env := t.TempDir(), t.TempDir(), append(os.Environ(), "RESTIC_REPOSITORY="+t.TempDir(), "RESTIC_PASSWORD=x", "XDG_CACHE_HOME="+t.TempDir())
	restic := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("restic %v: %v\n%s", args, err, out)
		}
	}
	content := slices.Repeat([]byte("content "), 1<<16)
	if err := os.WriteFile(filepath.Join(from, "file"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	restic("init")
	restic(state.BackupArgs("prod", "set", "shop/data", from, "")...)
	args := slices.Clone(restoreTask("latest", "shop", "data", "u-1", false).args)
	args[slices.Index(args, "--target")+1] = to // a mover's is the root, in which the volume is /data
	args[slices.Index(args, "--include")+1] = from
	restic(args...)

	file, stranger := filepath.Join(to, from, "file"), filepath.Join(to, from, "stranger")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := slices.Clone(content)
	changed[len(changed)/2] ^= 1
	err = errors.Join(os.WriteFile(file, changed, 0o600), os.Chtimes(file, info.ModTime(), info.ModTime()), os.WriteFile(stranger, nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	restic(args...)
	if raw, err := os.ReadFile(file); err != nil || !slices.Equal(raw, content) {
		t.Errorf("the file is not what it was: %d bytes, %v", len(raw), err)
	}
	if _, err := os.Stat(stranger); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was not in the snapshot is still there: %v", err)
	}
}
