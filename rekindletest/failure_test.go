package rekindletest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rekindle-dev/rekindle"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

// cleaned is a test that is cleaned up as testing does it, while the test that it is part of goes on.
type cleaned struct {
	*testing.T
	cleanups []func()
}

func (c *cleaned) Cleanup(f func()) { c.cleanups = append(c.cleanups, f) }

func (c *cleaned) clean() {
	for _, f := range c.cleanups {
		f()
	}
}

// TestATestThatPanicsHasFailed: what there was to see is saved, though testing does not call it failed yet.
func TestATestThatPanicsHasFailed(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	file, artifacts := filepath.Join(t.TempDir(), "cluster.yaml"), t.TempDir()
	if err := os.WriteFile(file, []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: tested}\nspec: {provider: {kwok: {}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	func() {
		test := &cleaned{T: t}
		defer func() { _ = recover() }()
		defer test.clean()
		ClusterFor(test, file, rekindle.Options{}, rekindle.RunOptions{Artifacts: artifacts})
		panic("it is wrong")
	}()
	if saved, err := filepath.Glob(filepath.Join(artifacts, "*", "events.txt")); err != nil || len(saved) != 1 {
		t.Errorf("saved: %v, %v", saved, err)
	}
}

// TestWhatStaysOfAClusterIsTold also by a test that failed itself.
func TestWhatStaysOfAClusterIsTold(t *testing.T) {
	stays := errors.New("it cannot be deleted")
	for _, c := range []struct{ err, want error }{
		{nil, nil}, {errFailed, nil}, {stays, stays}, {fault.Join(errFailed, stays), stays},
	} {
		if got := beside(c.err, errFailed); !errors.Is(got, c.want) || errors.Is(got, errFailed) {
			t.Errorf("of %v: %v", c.err, got)
		}
	}
}
