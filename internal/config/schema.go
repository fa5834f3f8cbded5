package config

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
)

// The types' own source: their comments are the descriptions in the schema and in docs/documents.md.
//
//go:embed types.go
var typesSource string

// schemaNode is one JSON Schema.
type schemaNode map[string]any

// Schema is the JSON Schema (2020-12) of the documents, made from the types and their comments.
func Schema() ([]byte, error) {
	docs, err := comments()
	if err != nil {
		return nil, err
	}
	g := &schemaGenerator{docs: docs, defs: schemaNode{}}
	cluster, stack := g.of(reflect.TypeFor[Cluster]()), g.of(reflect.TypeFor[Stack]())
	for _, kind := range []string{"Cluster", "Stack"} {
		properties := g.defs[kind].(schemaNode)["properties"].(schemaNode)
		properties["apiVersion"] = schemaNode{"const": APIVersion}
		properties["kind"] = schemaNode{"const": kind}
	}
	return json.MarshalIndent(schemaNode{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "rekindle documents, " + APIVersion,
		"oneOf":   []any{cluster, stack},
		"$defs":   g.defs,
	}, "", "  ")
}

type schemaGenerator struct {
	docs map[string]string // "Type" or "Type.Field" → comment
	defs schemaNode
}

// of gives the schema of a type; structs become definitions.
func (g *schemaGenerator) of(t reflect.Type) schemaNode {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[Duration]():
		return schemaNode{"type": "string", "examples": []string{"90s", "5m", "1h30m"}}
	case t.Kind() == reflect.Struct:
		if _, ok := g.defs[t.Name()]; !ok {
			g.defs[t.Name()] = schemaNode{}
			g.defs[t.Name()] = g.object(t)
		}
		return schemaNode{"$ref": "#/$defs/" + t.Name()}
	case t.Kind() == reflect.Slice:
		return schemaNode{"type": []string{"array", "null"}, "items": g.of(t.Elem())}
	case t.Kind() == reflect.Map:
		return schemaNode{"type": []string{"object", "null"}, "additionalProperties": g.of(t.Elem())}
	case t.Kind() == reflect.Interface:
		return schemaNode{}
	case t.Kind() == reflect.Bool:
		return variableOr("boolean")
	case t.Kind() == reflect.String:
		return schemaNode{"type": []string{"string", "null"}}
	}
	return variableOr("integer")
}

// variableOr takes a value of the type, or a string with a variable in it.
func variableOr(kind string) schemaNode {
	return schemaNode{"anyOf": []any{schemaNode{"type": kind}, schemaNode{"type": "string", "pattern": `\$\{`}}}
}

func (g *schemaGenerator) object(t reflect.Type) schemaNode {
	properties, required := schemaNode{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		s := g.of(f.Type)
		if text := g.docs[t.Name()+"."+f.Name]; text != "" {
			s["description"] = text
		}
		properties[name] = s
		if !strings.Contains(options, "omitempty") {
			required = append(required, name)
		}
	}
	s := schemaNode{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false, "required": required}
	if len(required) > 0 {
		s["type"] = "object"
	}
	if text := g.docs[t.Name()]; text != "" {
		s["description"] = text
	}
	switch t {
	case reflect.TypeFor[Provider]():
		s["type"], s["minProperties"], s["maxProperties"] = "object", 1, 1
	case reflect.TypeFor[Reconciler](), reflect.TypeFor[Ref]():
		s["maxProperties"] = 1
	}
	return s
}

// comments reads the comments of types and fields out of the source.
func comments() (map[string]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "types.go", typesSource, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("the types' source: %w", err)
	}
	docs := map[string]string{}
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		spec := gen.Specs[0].(*ast.TypeSpec)
		docs[spec.Name.Name] = flat(gen.Doc)
		fields, ok := spec.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range fields.Fields.List {
			text := flat(f.Doc)
			if text == "" {
				text = flat(f.Comment)
			}
			for _, name := range f.Names {
				docs[spec.Name.Name+"."+name.Name] = text
			}
		}
	}
	return docs, nil
}

func flat(c *ast.CommentGroup) string {
	if c == nil {
		return ""
	}
	return strings.Join(strings.Fields(c.Text()), " ")
}
