package config

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// Reference is docs/documents.md: every field of the documents with its type, default and meaning, made from the types.
func Reference() ([]byte, error) {
	comments, err := readComments()
	if err != nil {
		return nil, err
	}
	r := &reference{comments: comments, done: map[string]bool{}}
	r.out.WriteString(introduction)
	r.out.WriteString("\n## Cluster\n")
	r.object(reflect.TypeFor[Cluster](), "", "")
	r.out.WriteString("\n## Stack\n")
	r.object(reflect.TypeFor[Stack](), "", "")
	return r.out.Bytes(), nil
}

const introduction = `<!-- Made from internal/config/types*.go: change those, then run: go generate ./internal/config -->
# The documents

An ops repository has a **Cluster** document for each cluster, and **Stack** documents with Helm releases. ` + "`rekindle schema`" + ` prints the
JSON Schema of both. Editors with the YAML language server use it if the first line of a document is, for example,
` + "`# yaml-language-server: $schema=rekindle.schema.json`" + `.

[examples](examples) has complete, commented documents.

- Unknown fields, duplicate keys and values of a wrong type are errors. All errors in all documents are reported at once, as
  ` + "`file:line: field: message`" + `, and nothing is changed.
- Every document begins with ` + "`apiVersion: rekindle.dev/v1alpha1`" + `. A file has one Cluster document, or one or more Stack documents. All releases of
  all Stacks form one graph.
- Paths are relative to the document that contains them. Paths of keys are on this machine, and ` + "`~`" + ` is the home folder.
- ` + "`${NAME}`" + ` in a string is replaced with the value in ` + "`spec.variables`" + `, in the Cluster document and its Stacks. Environment variables are never used. The
  result is a string, except in fields that are a number or a boolean. ` + "`$${`" + ` is a literal ` + "`${`" + `. Keys, and the content of the files in ` + "`valuesFiles`" + `, are left unchanged.
  It also works in names of files, charts and namespaces: see [several clusters in one repository](day-2.md#several-clusters-in-one-repository).
  Inside ` + "`{ }`" + ` and ` + "`[ ]`" + `, YAML requires quotes: ` + "`{domain: \"${DOMAIN}\"}`" + `.
- Anchors and aliases are supported, merge keys (` + "`<<`" + `) are not. The maximum file size is 1 MiB.
`

type reference struct {
	comments comments
	done     map[string]bool
	out      bytes.Buffer
}

// object writes the table of a struct, and then those of the structs in it.
func (r *reference) object(t reflect.Type, at, parent string) {
	r.done[t.Name()] = true
	if at != "" {
		fmt.Fprintf(&r.out, "\n### %s\n", at)
	}
	fmt.Fprintf(&r.out, "\n%s\n", asWritten(t, r.comments.ofType(t.Name())))
	if example := exampleOf(t, at); example != "" {
		fmt.Fprintf(&r.out, "\n```yaml\n%s\n```\n", example)
	}
	if t.NumField() == 0 {
		return
	}
	r.out.WriteString("\n| Field | Type | Default | Meaning |\n|---|---|---|---|\n")
	for i := range t.NumField() {
		r.row(t, t.Field(i), parent)
	}
	for i := range t.NumField() {
		f := t.Field(i)
		inner, suffix := structIn(f.Type)
		if inner == nil || r.done[inner.Name()] {
			continue
		}
		path := join(parent, jsonName(f)) + suffix
		r.object(inner, path, path)
	}
}

func (r *reference) row(t reflect.Type, f reflect.StructField, parent string) {
	rule := ruleOf(t.Name(), f.Name)
	meaning, def := splitDefault(r.comments.ofField(t.Name(), f.Name))
	meaning, def = asWritten(t, meaning), asWritten(t, def)
	if isRequired(f) {
		def = "**required**"
	}
	var limits []string
	if rule.max > 0 {
		limits = append(limits, fmt.Sprintf("%d to %d", rule.min, rule.max))
	}
	if rule.says != "" && !strings.Contains(meaning, rule.says) {
		limits = append(limits, rule.says)
	}
	if len(limits) > 0 {
		meaning += " Must be " + strings.Join(limits, "; ") + "."
	}
	if rule.keysSay != "" {
		meaning += " Keys: " + rule.keysSay + "."
	}
	typ := typeName(f.Type)
	if inner, _ := structIn(f.Type); inner != nil && r.done[inner.Name()] {
		typ += ", as above"
	}
	fmt.Fprintf(&r.out, "| `%s` | %s | %s | %s |\n", join(parent, jsonName(f)), typ, def, escape(meaning))
}

var (
	subject  = regexp.MustCompile(`^\w+ (?:is|are) (\w)`)
	compound = regexp.MustCompile(`\b[A-Z][a-z]+[A-Z]\w*\b`)
)

// asWritten turns a comment of Go into a sentence for somebody who writes documents: without the name of the field at
// its beginning, and other fields named as they are written.
func asWritten(t reflect.Type, s string) string {
	s = subject.ReplaceAllStringFunc(s, func(m string) string { return strings.ToUpper(m[len(m)-1:]) })
	return compound.ReplaceAllStringFunc(s, func(word string) string {
		if f, ok := t.FieldByName(word); ok {
			return "`" + jsonName(f) + "`"
		}
		return word
	})
}

func escape(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

var defaultOf = regexp.MustCompile(`[;,] default (?:is )?([^.]*(?:\.[^. ][^.]*)*)\.?$`)

// splitDefault takes "; default x." off the end of a comment.
func splitDefault(comment string) (meaning, def string) {
	m := defaultOf.FindStringSubmatchIndex(comment)
	if m == nil {
		return comment, ""
	}
	return comment[:m[0]] + ".", comment[m[2]:m[3]]
}

// structIn gives the struct that a type holds, if any, and how a path goes on through it.
func structIn(t reflect.Type) (inner reflect.Type, suffix string) {
	for {
		switch t.Kind() {
		case reflect.Pointer:
			t = t.Elem()
		case reflect.Slice:
			t, suffix = t.Elem(), suffix+"[]"
		case reflect.Struct:
			if t == reflect.TypeFor[Duration]() {
				return nil, ""
			}
			return t, suffix
		default:
			return nil, ""
		}
	}
}

func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Duration]():
		return "duration"
	case t.Kind() == reflect.Pointer:
		return typeName(t.Elem())
	case t.Kind() == reflect.Slice:
		return "list of " + typeName(t.Elem())
	case t.Kind() == reflect.Map:
		return "map of " + typeName(t.Elem())
	case t.Kind() == reflect.Struct:
		return "object"
	case t.Kind() == reflect.Interface:
		return "anything"
	case t.Kind() == reflect.Int:
		return "number"
	case t.Kind() == reflect.Bool:
		return "boolean"
	}
	return "string"
}
