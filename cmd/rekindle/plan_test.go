package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// TestPlanIsTold: what would be made, without a session that makes it.
func TestPlanIsTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	if err := os.WriteFile(file, []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: bare}\nspec: {provider: {kwok: {}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := call(t, "plan", file); code != fault.ExitProven || !strings.Contains(out, "take the lease of the cluster") {
		t.Errorf("exit code %d with:\n%s", code, out)
	}
}
