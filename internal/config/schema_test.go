package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	raw, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("rekindle.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("rekindle.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// onlyLoader are faults that JSON has no form for: the schema cannot know of them.
func onlyLoader(err error) bool {
	for _, text := range []string{"the variable ${", `found "127.0.0.1:5001"`, "is set twice", "merge keys", "the YAML tag", "not a number that"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// shape gives what the loader says of one document by itself, before it looks at what fields mean together.
func shape(root *yaml.Node, variables map[string]string) []error {
	d := newDocument("x.yaml", root, variables)
	switch d.kind {
	case "Cluster":
		d.variables = variablesOf(d.root)
		d.decode(&Cluster{})
	case "Stack":
		d.decode(&Stack{})
	case "":
	default:
		d.unknownKind("Cluster")
	}
	return d.faults
}

// agree fails the test when schema and loader judge a document differently.
func agree(t *testing.T, schema *jsonschema.Schema, what string, text []byte) {
	t.Helper()
	var root yaml.Node
	if yaml.Unmarshal(text, &root) != nil || len(root.Content) == 0 {
		return // no document
	}
	faults := shape(root.Content[0], map[string]string{"REGISTRY": "127.0.0.1:5001"})
	for _, f := range faults {
		if onlyLoader(f) {
			return
		}
	}
	raw := text
	if !json.Valid(text) {
		var err error
		if raw, err = sigsyaml.YAMLToJSON(text); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(instance); (err == nil) != (len(faults) == 0) {
		t.Errorf("%s:\nschema: %v\nloader: %v\n%s", what, err, errors.Join(faults...), text)
	}
}

// goodFiles are the documents of testdata/good, which everything here starts from.
func goodFiles(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	names, err := fs.Glob(os.DirFS("testdata/good"), "*.yaml")
	if err != nil || len(names) < 6 {
		t.Fatalf("%v %v", names, err)
	}
	for _, name := range names {
		if name == "values.yaml" {
			continue
		}
		if all[name], err = os.ReadFile(path.Join("testdata/good", name)); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestSchemaAgreesOnGoodDocuments(t *testing.T) {
	schema := compile(t)
	for name, text := range goodFiles(t) {
		var root yaml.Node
		if err := yaml.Unmarshal(text, &root); err != nil {
			t.Fatal(err)
		}
		if faults := shape(root.Content[0], map[string]string{"REGISTRY": "x"}); len(faults) > 0 {
			t.Errorf("%s: %v", name, faults)
		}
		agree(t, schema, name, text)
	}
}

func TestSchemaAgreesOnFaults(t *testing.T) {
	schema := compile(t)
	for name, c := range faultCases(t) {
		for file, text := range c.over {
			agree(t, schema, name+" "+file, []byte(text))
		}
	}
}

// TestSchemaAgreesOnMutations drops, renames and retypes every field of the good documents in turn.
func TestSchemaAgreesOnMutations(t *testing.T) {
	schema := compile(t)
	n := 0
	for name, text := range goodFiles(t) {
		var doc any
		if err := sigsyaml.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		mutate(doc, name, func(what string) {
			if strings.Contains(what, "spec.variables.") {
				return // what a variable holds is put into other fields, by the loader alone
			}
			raw, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			n++
			agree(t, schema, what, raw)
		})
	}
	if n < 1500 {
		t.Errorf("only %d mutations were tried", n)
	}
}

// mutate changes one thing of a document at a time, calls try, and changes it back.
func mutate(v any, at string, try func(what string)) {
	others := []any{nil, "", "text", "Not A Name!", "10m", 0.0, 1.0, 2.5, -1.0, true, []any{}, []any{"a"}, []any{nil}, map[string]any{}, map[string]any{"a": "b"}}
	switch v := v.(type) {
	case map[string]any:
		for key, was := range v {
			delete(v, key)
			try(at + "." + key + " dropped")
			v[key+"z"] = was
			try(at + "." + key + " renamed")
			delete(v, key+"z")
			for _, o := range others {
				v[key] = o
				try(at + "." + key + " retyped")
			}
			v[key] = was
			mutate(was, at+"."+key, try)
		}
	case []any:
		for i, was := range v {
			for _, o := range others {
				v[i] = o
				try(at + "[] retyped")
			}
			v[i] = was
			mutate(was, at+"[]", try)
		}
	}
}

func TestGoodDocumentsLoad(t *testing.T) {
	for name := range goodFiles(t) {
		if name == "stack.yaml" {
			continue // by kind.yaml
		}
		if _, err := Load(path.Join("testdata/good", name)); err != nil {
			t.Errorf("%s:\n%v", name, err)
		}
	}
	_, err := Load("testdata/good/stack.yaml")
	if fault.Code(err) != fault.ExitUsage {
		t.Errorf("a Stack alone: %v", err)
	}
}

// TestEveryFieldIsTold finds fields and types without a comment, and rules for fields that do not exist.
func TestEveryFieldIsTold(t *testing.T) {
	raw, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct {
			Description string
			Properties  map[string]struct{ Description string }
		} `json:"$defs"`
	}
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	if len(schema.Defs) < 20 {
		t.Errorf("%d types", len(schema.Defs))
	}
	for typ, def := range schema.Defs {
		if def.Description == "" {
			t.Errorf("%s has no comment", typ)
		}
		for field, p := range def.Properties {
			if p.Description == "" {
				t.Errorf("%s.%s has no comment", typ, field)
			}
		}
	}
}
