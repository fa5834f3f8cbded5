package gke

import (
	"os"
	"path/filepath"
	"testing"
)

// TestAKubeconfigNamesTheProgramAsItWasCalled, by a link that outlives the file behind it.
func TestAKubeconfigNamesTheProgramAsItWasCalled(t *testing.T) {
	real, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	link, other := filepath.Join(dir, "rekindle"), filepath.Join(dir, "other")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Chdir(dir)
	args := os.Args
	t.Cleanup(func() { os.Args = args })
	for called, want := range map[string]string{link: link, "rekindle": link, "./rekindle": link, "other": real, other: real, "no-such-name": real} {
		os.Args = []string{called}
		if got, err := thisProgram(); err != nil || got != want {
			t.Errorf("called as %s: %s, %v; want %s", called, got, err, want)
		}
	}
}
