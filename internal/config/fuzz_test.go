package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	sigsyaml "sigs.k8s.io/yaml"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// FuzzLoad hands anything to the loader, as Cluster and as Stack: it never panics, whatever it does not take is told with file
// and line, and what it takes is the same after being written and read again.
func FuzzLoad(f *testing.F) {
	good := goodFiles(f)
	stack := string(good["stack.yaml"])
	for _, text := range good {
		f.Add(string(text), stack)
	}
	f.Add(goodCluster, goodStack)
	f.Add(goodCluster, "a: &a [*a]\n")
	f.Add("a: &a {<<: *a, ? [b] : !!binary x}\n", "\xff")
	f.Add("--- !x\n...\n%YAML 1.1\n---\n", "- - - ? : |\n")
	f.Fuzz(func(t *testing.T, cluster, stack string) {
		d, err := LoadFS(fuzzFiles(cluster, stack), "c.yaml")
		if err != nil {
			wantPlaces(t, err)
			return
		}
		if len(d.Cluster.Spec.Stack) > 1 {
			return // both are the same text here
		}
		again, err := LoadFS(fuzzFiles(written(t, d.Cluster), written(t, d.Stacks)), "c.yaml")
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v\n%s", err, written(t, d.Cluster))
		}
		for _, pair := range [][2]any{{d.Cluster, again.Cluster}, {d.Stacks, again.Stacks}} {
			if read, reread := written(t, pair[0]), written(t, pair[1]); read != reread {
				t.Errorf("read:\n%s\nread again:\n%s", read, reread)
			}
		}
	})
}

// fuzzFiles puts a Cluster and a Stack where the seeds look for them.
func fuzzFiles(cluster, stack string) fstest.MapFS {
	fsys := fstest.MapFS{"c.yaml": {Data: []byte(cluster)}}
	for _, name := range []string{"stack.yaml", "stacks/platform.yaml"} {
		fsys[name] = &fstest.MapFile{Data: []byte(stack)}
	}
	for _, name := range []string{"values.yaml", "kind.yaml"} {
		fsys[name] = &fstest.MapFile{}
	}
	return fsys
}

// written is a document as YAML, so that nothing in it is taken for a variable.
func written(t *testing.T, documents any) string {
	t.Helper()
	var parts []string
	v := reflect.ValueOf(documents)
	for i := 0; v.Kind() == reflect.Slice && i < v.Len(); i++ {
		parts = append(parts, written(t, v.Index(i).Interface()))
	}
	if v.Kind() == reflect.Slice {
		return strings.Join(parts, "---\n")
	}
	raw, err := sigsyaml.Marshal(documents)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := sigsyaml.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	if raw, err = sigsyaml.Marshal(escaped(tree)); err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// escaped writes ${ in strings so that it stands for itself.
func escaped(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "${", "$${")
	case []any:
		for i := range v {
			v[i] = escaped(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = escaped(v[key])
		}
	}
	return v
}

func wantPlaces(t *testing.T, err error) {
	t.Helper()
	for _, one := range fault.All(err) {
		var f *fault.Error
		if !errors.As(one, &f) || f.Kind != fault.Usage || f.File == "" || f.Line < 1 {
			t.Errorf("no fault with a place: %v", one)
		}
	}
}
