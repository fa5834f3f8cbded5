// Package labtest gives tests the lab that make lab has made. A test that needs it fails without it: what was
// skipped would read as passed.
package labtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rekindle-dev/rekindle/test/lab"
)

// Require gives the lab, or ends the test with what is missing; components are extra ones that it must have.
func Require(t testing.TB, components ...string) *lab.Env {
	t.Helper()
	l, err := lab.Open()
	if err != nil {
		t.Fatal(err)
	}
	env, err := l.Env(t.Context(), components...)
	if err != nil {
		t.Fatalf("%v (run make lab)", err)
	}
	return env
}

// Parallel runs a test on real nodes beside others of its package, where this machine has enough of what nodes share.
func Parallel(t *testing.T) {
	t.Helper()
	if few := lab.TooFewInotify(); few != "" {
		t.Logf("alone: %s", few)
		return
	}
	t.Parallel()
}

// KindConfig writes a kind configuration as Env.KindConfig gives it, into a folder of the test. An
// empty raw is one node.
func KindConfig(t testing.TB, env *lab.Env, raw string) string {
	t.Helper()
	if raw == "" {
		raw = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"
	}
	out, err := env.KindConfig([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kind.yaml")
	if err := os.WriteFile(file, out, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
