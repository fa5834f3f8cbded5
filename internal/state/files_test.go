package state_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// TestTheFilesOfASnapshotAreToldWithTheirTimes has a sentinel that is older than the rest.
func TestTheFilesOfASnapshotAreToldWithTheirTimes(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	dir := r.files(2, "seed")
	sentinel := filepath.Join(dir, "var", "heart beat\n")
	if err := os.Mkdir(filepath.Dir(sentinel), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sentinel, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(sentinel, hour(3), hour(3)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("heart beat", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	r.plain(r.dir, state.BackupArgs("prod", state.NewID(hour(4)), "shop/data", dir, "")...)
	sets, err := r.Sets(t.Context())
	if err != nil || len(sets) != 1 {
		t.Fatalf("%+v, %v", sets, err)
	}
	var paths []string
	err = r.Files(t.Context(), sets[0].Claims[0].Snapshot, func(f state.File) {
		paths = append(paths, f.Path)
		if isSentinel := f.Path == "var/heart beat\n"; isSentinel != f.Modified.Equal(hour(3)) || isSentinel && f.Size != 5 {
			t.Errorf("%+v", f)
		}
	})
	slices.Sort(paths)
	if err != nil || len(paths) != 3 || paths[2] != "var/heart beat\n" || strings.HasPrefix(paths[0], "/") {
		t.Errorf("%q, %v", paths, err)
	}
	if err := r.Files(t.Context(), "0123456789abcdef", func(state.File) {}); fault.KindOf(err) != fault.Failed {
		t.Errorf("of no snapshot: %v", err)
	}
}
