package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// document is one YAML document on its way to a type: it collects lines and faults.
type document struct {
	file      string
	root      *yaml.Node
	kind      string
	variables map[string]string
	lines     map[string]int
	faults    []error
	nodes     int
}

// newDocument reads apiVersion and kind; kind is empty when the document can not be read further.
func newDocument(file string, root *yaml.Node, variables map[string]string) *document {
	d := &document{file: file, root: root, variables: variables, lines: map[string]int{}}
	if root.Kind != yaml.MappingNode {
		d.add(root, "", "want a document with apiVersion and kind, found %s", found(root))
		return d
	}
	version, kind := field(root, "apiVersion"), field(root, "kind")
	switch {
	case version == nil:
		d.add(root, "apiVersion", "is missing, want %s", APIVersion)
	case version.Value != APIVersion:
		d.add(version, "apiVersion", "%q is not read by this version of rekindle, want %s", version.Value, APIVersion)
	case kind == nil:
		d.add(root, "kind", "is missing, want Cluster or Stack")
	default:
		d.kind = kind.Value
	}
	return d
}

func field(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// variablesOf reads spec.variables before the rest, which may use them.
func variablesOf(root *yaml.Node) map[string]string {
	spec := field(root, "spec")
	if spec == nil {
		return nil
	}
	raw := field(spec, "variables")
	if raw == nil || raw.Kind != yaml.MappingNode {
		return nil
	}
	vars := map[string]string{}
	for i := 0; i+1 < len(raw.Content); i += 2 {
		vars[raw.Content[i].Value] = raw.Content[i+1].Value
	}
	return vars
}

func (d *document) unknownKind(want string) {
	d.add(d.root, "kind", "%q is no kind that is read here, want %s", d.kind, want)
}

// add records a fault at a node.
func (d *document) add(n *yaml.Node, field, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if field != "" {
		text = field + ": " + text
	}
	d.faults = append(d.faults, fault.New(fault.Usage, "%s", text).At(d.file, n.Line))
}

// decode checks the document against the type of into, substitutes variables, and fills into; false
// when there was a fault.
func (d *document) decode(into any) bool {
	d.walk(d.root, reflect.TypeOf(into).Elem(), "", 0)
	if len(d.faults) > 0 {
		return false
	}
	raw, err := yaml.Marshal(d.root)
	if err == nil {
		raw, err = sigsyaml.YAMLToJSON(raw) // as Helm reads values
	}
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		d.add(d.root, "", "%v", err)
		return false
	}
	return true
}

// walk checks a node against a type and records the lines of its fields.
func (d *document) walk(n *yaml.Node, t reflect.Type, at string, depth int) {
	d.lines[at] = n.Line
	if d.nodes++; d.nodes > maxNodes || depth > maxDepth {
		if d.nodes == maxNodes+1 || depth > maxDepth {
			d.add(n, at, "the document is too large or too deep")
			d.nodes = maxNodes + 1
		}
		return
	}
	if n.Kind == yaml.AliasNode {
		d.walk(n.Alias, t, at, depth+1)
		return
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[Duration]():
		d.duration(n, at)
	case t.Kind() == reflect.Struct:
		d.fields(n, t, at, depth)
	case t.Kind() == reflect.Map:
		d.entries(n, t.Elem(), at, depth)
	case t.Kind() == reflect.Slice:
		d.items(n, t.Elem(), at, depth)
	case t.Kind() == reflect.Interface:
		d.anything(n, at, depth)
	default:
		d.scalar(n, t, at)
	}
}

// fields checks a mapping against a struct.
func (d *document) fields(n *yaml.Node, t reflect.Type, at string, depth int) {
	if n.Kind != yaml.MappingNode {
		if isNull(n) && t.NumField() > 0 {
			return // "flux:" alone is an empty object
		}
		d.add(n, at, "want an object, found %s", found(n))
		return
	}
	known := fieldsOf(t)
	d.eachEntry(n, at, func(key, value *yaml.Node, name string) {
		ft, ok := known[key.Value]
		if !ok {
			d.add(key, name, "unknown field%s", didYouMean(key.Value, names(known)))
			return
		}
		d.walk(value, ft, name, depth+1)
	})
}

// entries checks a mapping of free names.
func (d *document) entries(n *yaml.Node, t reflect.Type, at string, depth int) {
	if n.Kind != yaml.MappingNode {
		if !isNull(n) {
			d.add(n, at, "want an object, found %s", found(n))
		}
		return
	}
	d.eachEntry(n, at, func(_, value *yaml.Node, name string) { d.walk(value, t, name, depth+1) })
}

// eachEntry goes over a mapping, and takes neither duplicate nor merged keys.
func (d *document) eachEntry(n *yaml.Node, at string, take func(key, value *yaml.Node, name string)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := key.Value
		if at != "" {
			name = at + "." + key.Value
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			d.add(key, at, "a key must be a plain word, found %s", found(key))
			continue
		case key.Tag == "!!merge":
			d.add(key, name, "merge keys are not read: write the fields out")
			continue
		case seen[key.Value] > 0:
			d.add(key, name, "is written twice, first on line %d", seen[key.Value])
			continue
		}
		seen[key.Value] = key.Line
		take(key, value, name)
		d.lines[name] = key.Line
	}
}

func (d *document) items(n *yaml.Node, t reflect.Type, at string, depth int) {
	if n.Kind != yaml.SequenceNode {
		if !isNull(n) {
			d.add(n, at, "want a list, found %s", found(n))
		}
		return
	}
	for i, item := range n.Content {
		d.walk(item, t, fmt.Sprintf("%s[%d]", at, i), depth+1)
	}
}

// anything takes what is passed on untouched, but for variables in its strings.
func (d *document) anything(n *yaml.Node, at string, depth int) {
	switch n.Kind {
	case yaml.MappingNode:
		d.entries(n, reflect.TypeFor[any](), at, depth)
	case yaml.SequenceNode:
		d.items(n, reflect.TypeFor[any](), at, depth)
	default:
		if n.Tag == "!!str" {
			d.substitute(n, at)
		}
	}
}

func (d *document) scalar(n *yaml.Node, t reflect.Type, at string) {
	if n.Kind != yaml.ScalarNode {
		d.add(n, at, "want %s, found %s", wanted(t), found(n))
		return
	}
	plain := n.Style == 0
	if n.Tag == "!!str" {
		d.substitute(n, at)
	}
	switch t.Kind() {
	case reflect.String:
		if n.Tag != "!!str" && !isNull(n) {
			d.add(n, at, "want a string, found %s; put it in quotes: %q", found(n), n.Value)
		}
	case reflect.Bool:
		if _, err := strconv.ParseBool(n.Value); err != nil || (n.Tag != "!!bool" && !plain) {
			d.add(n, at, "want true or false, found %s", found(n))
		}
	case reflect.Int, reflect.Int32, reflect.Int64:
		if _, err := strconv.ParseInt(n.Value, 10, 64); err != nil || (n.Tag != "!!int" && !plain) {
			d.add(n, at, "want a whole number, found %s", found(n))
			return
		}
		n.Style, n.Tag = 0, "!!int" // after a variable was put in
	}
}

func (d *document) duration(n *yaml.Node, at string) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		d.add(n, at, "want a duration like 90s, 5m or 1h30m, found %s", found(n))
		return
	}
	d.substitute(n, at)
	var v Duration
	raw, err := json.Marshal(n.Value)
	if err == nil {
		err = v.UnmarshalJSON(raw)
	}
	if err != nil {
		d.add(n, at, "%v", err)
	} else if v.Duration < 0 {
		d.add(n, at, "%s is negative", n.Value)
	}
}

var variable = regexp.MustCompile(`\$(\$\{|\{([^}]*)\})`)

// substitute puts variables in place of ${NAME} in one scalar, which stays a string whatever the
// variable holds; $${ stands for ${ itself.
func (d *document) substitute(n *yaml.Node, at string) {
	if !strings.Contains(n.Value, "${") {
		return
	}
	n.Value = variable.ReplaceAllStringFunc(n.Value, func(m string) string {
		if m == "$${" {
			return "${"
		}
		name := m[2 : len(m)-1]
		value, ok := d.variables[name]
		if !ok {
			d.add(n, at, "the variable ${%s} is not in spec.variables%s", name, didYouMean(name, names(d.variables)))
			return m
		}
		return value
	})
	n.Style, n.Tag = yaml.DoubleQuotedStyle, "!!str"
}

// fieldsOf gives the fields of a struct by their names in a document.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			fields[name] = t.Field(i).Type
		}
	}
	return fields
}

func names[V any](m map[string]V) []string {
	all := make([]string, 0, len(m))
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// wanted names a type for a person.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	}
	return "a string"
}

// found names what a node is for a person.
func found(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "an object"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return "the boolean " + n.Value
	case "!!null":
		return "nothing"
	}
	return strconv.Quote(n.Value)
}

// lineOf finds the line of a field, or of the nearest one above it.
func lineOf(lines map[string]int, field string) int {
	for {
		if line, ok := lines[field]; ok {
			return line
		}
		i := strings.LastIndexAny(field, ".[")
		if i < 0 {
			return lines[""]
		}
		field = field[:i]
	}
}

// syntaxFault takes the line out of the YAML parser's message.
func syntaxFault(file string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		number, what, found := strings.Cut(rest, ": ")
		if n, e := strconv.Atoi(number); e == nil && found {
			line, text = n, what
		}
	}
	return fault.New(fault.Usage, "this is no YAML: %s", text).At(file, line)
}
