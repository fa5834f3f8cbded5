package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
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

// TestExamplesOfTheReferenceAreRight reads each as the part of a document that it is.
func TestExamplesOfTheReferenceAreRight(t *testing.T) {
	reference, err := Reference()
	if err != nil {
		t.Fatal(err)
	}
	for at, text := range examples() {
		if !bytes.Contains(reference, []byte(strings.TrimSpace(text))) {
			t.Errorf("%s is no section of the reference", at)
		}
		var root yaml.Node
		if err := yaml.Unmarshal([]byte(text), &root); err != nil {
			t.Errorf("%s: %v", at, err)
			continue
		}
		whole := reflect.TypeFor[Cluster]()
		switch {
		case strings.HasSuffix(at, "autoscaling"):
			whole = reflect.TypeFor[struct {
				Autoscaling GKEAutoscaling `json:"autoscaling"`
			}]()
		case strings.HasSuffix(at, ".from"):
			whole = reflect.TypeFor[struct {
				From KeySource `json:"from"`
			}]()
		case strings.HasSuffix(at, ".password"):
			whole = reflect.TypeFor[struct {
				Password ValueSource `json:"password"`
			}]()
		case at == "Stack" || strings.HasPrefix(at, "releases[]"):
			whole = reflect.TypeFor[Stack]()
		}
		budget := maxNodes
		d := &document{file: at, lines: map[string]int{}, variables: map[string]string{"DOMAIN": "x"}}
		d.walk(expand(root.Content[0], &budget, 0), whole, rule{}, "")
		for _, fault := range d.faults {
			if !strings.Contains(fault.Error(), ": is missing") { // as of a part
				t.Error(fault)
			}
		}
	}
}
