package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the generated files instead of comparing them")

// TestGeneratedFilesAreCurrent compares what is made from the types with what is committed.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	for file, make := range map[string]func() ([]byte, error){
		"../../docs/documents.md": Reference,
		"../../docs/schema/rekindle.schema.json": func() ([]byte, error) {
			raw, err := Schema()
			return append(raw, '\n'), err
		},
	} {
		want, err := make()
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not current (%v): run go generate ./internal/config", file, err)
		}
	}
}
