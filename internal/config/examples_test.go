package config

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestTheExamplesLoad loads the documents that docs/examples shows, and those that the README has in its text.
func TestTheExamplesLoad(t *testing.T) {
	found, err := filepath.Glob("../../docs/examples/*/cluster.yaml")
	if err != nil || len(found) < 3 {
		t.Fatalf("%v %v", found, err)
	}
	for _, file := range append(found, readme(t)) {
		d, err := Load(file)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if len(d.Stacks) == 0 || len(d.Stacks[0].Releases) == 0 {
			t.Errorf("%s: no stack with releases", file)
		}
	}
}

// readme writes the files of the README, each of which has its path in its first line, and gives that of the Cluster document.
func readme(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, block := range regexp.MustCompile("(?s)```yaml\n# (\\S+)\n(.*?)```").FindAllSubmatch(raw, -1) {
		file := filepath.Join(dir, string(block[1]))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, block[2], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "clusters/prod/cluster.yaml")
}
