package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
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
	bad       []string // fields with a fault: what depends on them is not judged
	hides     bool     // what is walked leads to a credential: no value of it is shown
}

// newDocument reads apiVersion and kind; kind is empty when the document cannot be read further.
func newDocument(file string, root *yaml.Node, variables map[string]string) *document {
	d := &document{file: file, root: root, variables: variables, lines: map[string]int{}}
	budget := maxNodes
	copied := expand(root, &budget, 0)
	if copied == nil {
		d.add(root, "", "the document is too large or too deep, counting every use of an alias")
		return d
	}
	root, d.root = copied, copied
	if root.Kind != yaml.MappingNode {
		d.add(root, "", "expected a document with apiVersion and kind, found %s", found(root))
		return d
	}
	version, kind := field(root, "apiVersion"), field(root, "kind")
	switch {
	case d.isForeign(version, kind): // told
	case version == nil:
		d.add(root, "apiVersion", "is missing; must be %s", APIVersion)
	case version.Value != APIVersion:
		d.add(version, "apiVersion", "%q is not supported by this version of rekindle; must be %s", version.Value, APIVersion)
	case kind == nil:
		d.add(root, "kind", "is missing; must be Cluster or Stack")
	case kind.Tag != "!!str" || kind.Value == "":
		d.add(kind, "kind", "must be Cluster or Stack, found %s", found(kind))
	default:
		d.kind = kind.Value
	}
	return d
}

// isForeign says whether this is a document of another tool, and tells so: what rekindle lacks in it would lead astray.
func (d *document) isForeign(version, kind *yaml.Node) bool {
	what, group := "a document", strings.TrimSuffix(APIVersion, path.Base(APIVersion))
	switch base := path.Base(d.file); {
	case version == nil && (base == "kustomization.yaml" || base == "kustomization.yml"): // which needs neither
		what = "a kustomization file"
	case version == nil || version.Kind != yaml.ScalarNode || version.Value == "":
		return false
	case strings.HasPrefix(version.Value, group):
		return false
	case kind != nil && kind.Kind == yaml.ScalarNode && kind.Value != "":
		what = article(kind.Value) + " of " + version.Value
	default:
		what += " of " + version.Value
	}
	d.add(d.root, "", "is %s, and no document of rekindle", what)
	d.hint("a document of rekindle begins with: apiVersion: %s, kind: Cluster (or Stack)", APIVersion)
	return true
}

// article puts a or an before a word.
func article(word string) string {
	if strings.ContainsRune("AEIOUaeiou", rune(word[0])) {
		return "an " + word
	}
	return "a " + word
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
		return map[string]string{}
	}
	raw := field(spec, "variables")
	vars := map[string]string{}
	if raw == nil || raw.Kind != yaml.MappingNode {
		return vars
	}
	for i := 0; i+1 < len(raw.Content); i += 2 {
		vars[raw.Content[i].Value] = raw.Content[i+1].Value
	}
	return vars
}

func (d *document) unknownKind(want string) {
	d.add(field(d.root, "kind"), "kind", "%q is not expected here; must be %s", d.kind, want)
}

// add records a fault at a node.
func (d *document) add(n *yaml.Node, field, format string, args ...any) {
	d.addAt(n.Line, field, format, args...)
}

func (d *document) addAt(line int, field, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if field != "" {
		text = field + ": " + text
	}
	d.bad = append(d.bad, field)
	d.faults = append(d.faults, fault.New(fault.Usage, "%s", text).At(d.file, line))
}

// hint says what to do about the fault that was added last.
func (d *document) hint(format string, args ...any) {
	var f *fault.Error
	if errors.As(d.faults[len(d.faults)-1], &f) {
		_ = f.WithHint(format, args...)
	}
}

// decode checks the document against the type of into, substitutes variables, and fills into with
// everything that has no fault, so that the rest can be judged too.
func (d *document) decode(into any) {
	d.walk(d.root, reflect.TypeOf(into).Elem(), rule{}, "")
	raw, err := yaml.Marshal(d.root)
	if err == nil {
		raw, err = sigsyaml.YAMLToJSON(raw) // as Helm reads values
	}
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil && len(d.faults) == 0 {
		d.add(d.root, "", "%v", err)
	}
}

// walk checks a node against a type and its rule, and records the lines of its fields.
func (d *document) walk(n *yaml.Node, t reflect.Type, r rule, at string) {
	if d.lines[at] == 0 {
		d.lines[at] = n.Line
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	before := len(d.faults)
	switch {
	case t == reflect.TypeFor[Duration]():
		d.duration(n, at)
	case t.Kind() == reflect.Struct:
		d.fields(n, t, at)
		return // what is wrong inside is put away there
	case t.Kind() == reflect.Map:
		d.entries(n, t.Elem(), r, at)
		return
	case t.Kind() == reflect.Slice:
		d.items(n, t.Elem(), r, at)
		return
	case t.Kind() == reflect.Interface:
		d.anything(n, at)
		return
	default:
		d.scalar(n, t, r, at)
	}
	if len(d.faults) > before {
		putAway(n)
	}
}

// putAway takes a faulty value out of what is decoded.
func putAway(n *yaml.Node) {
	*n = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null", Line: n.Line}
}

// fields checks a mapping against a struct.
func (d *document) fields(n *yaml.Node, t reflect.Type, at string) {
	if isNull(n) { // "flux:" alone is an empty object
		*n = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line}
	}
	if forms := credentialForms(t.Name()); forms != "" {
		defer func(was bool) { d.hides = was }(d.hides)
		d.hides = true
		if n.Kind != yaml.MappingNode {
			d.add(n, at, "must be %s", forms)
			putAway(n)
			return
		}
	}
	if n.Kind != yaml.MappingNode {
		d.add(n, at, "expected an object, found %s", d.found(n))
		if form := d.formOf(n, t.Name(), at); form != "" {
			d.hint("write %s", form)
		}
		putAway(n)
		return
	}
	known := fieldsOf(t)
	written := map[string]bool{}
	before := len(d.bad)
	d.eachEntry(n, at, func(key, value *yaml.Node, name string) bool {
		f, ok := known[key.Value]
		if !ok {
			d.add(key, name, "%s", unknownField(t, at, key.Value))
			if t == reflect.TypeFor[Provider]() {
				if form := d.formOf(value, t.Name(), at); form != "" { // name: kwok
					d.hint("write %s", form)
				}
			}
			if meant := cmp.Or(otherwiseCalled(t.Name(), key.Value), Nearest(key.Value, names(known))); meant != "" {
				d.bad = append(d.bad, join(at, meant)) // and so not missing
			}
			return false
		}
		written[key.Value] = true
		d.walk(value, f.Type, ruleOf(t.Name(), f.Name), name)
		return true
	})
	for _, name := range names(known) {
		if isRequired(known[name]) && !written[name] && !slices.Contains(d.bad[before:], join(at, name)) {
			d.missing(at, name, ruleOf(t.Name(), known[name].Name))
		}
	}
	d.union(t, written, at, len(d.bad) > before)
}

// unknownField tells of a field that a struct has not, and of the one that was probably meant.
func unknownField(t reflect.Type, at, name string) string {
	known := fieldsOf(t)
	switch u := unionOf(t.Name()); t {
	case reflect.TypeFor[Provider](), reflect.TypeFor[Reconciler]():
		return fmt.Sprintf("unknown %s %q; supported: %s", strings.ToLower(t.Name()), name, strings.Join(u.members, ", "))
	}
	for _, outer := range names(known) { // written one level too high
		inner, suffix := structIn(known[outer].Type)
		if inner == nil || suffix != "" {
			continue
		}
		if _, ok := fieldsOf(inner)[name]; ok {
			return fmt.Sprintf("unknown field (did you mean %s?)", join(join(at, outer), name))
		}
	}
	if meant := otherwiseCalled(t.Name(), name); meant != "" {
		return fmt.Sprintf("unknown field (did you mean %q?)", meant)
	}
	if hint := didYouMean(name, names(known)); hint != "" || len(known) > maxListed {
		return "unknown field" + hint
	}
	return "unknown field; supported: " + strings.Join(names(known), ", ")
}

// maxListed is up to how many fields a fault lists all of them.
const maxListed = 12

// missing tells a field that is not written, at the line of its object.
func (d *document) missing(at, name string, r rule) {
	field := join(at, name)
	d.lines[field] = d.lines[at]
	if r.says != "" {
		d.addAt(d.lines[at], field, "is missing; must be %s", r.says)
		return
	}
	d.addAt(d.lines[at], field, "is missing")
}

// union checks that exactly one, or at most one, of the alternatives is written. Where there are faults inside, what is
// missing was misspelled.
func (d *document) union(t reflect.Type, written map[string]bool, at string, faulty bool) {
	u := unionOf(t.Name())
	var have []string
	for _, name := range u.members {
		if written[name] {
			have = append(have, name)
		}
	}
	switch {
	case len(have) > 1:
		var where []string
		for _, name := range have {
			where = append(where, fmt.Sprintf("%s (line %d)", name, d.lines[join(at, name)]))
		}
		d.addAt(d.lines[at], at, "%s are set; set %s of %s", strings.Join(where, " and "), u.wants(), strings.Join(u.members, ", "))
	case len(have) == 0 && u.required && !faulty:
		d.addAt(d.lines[at], at, "is missing; set one of %s", strings.Join(u.members, ", "))
	}
}

// entries checks a mapping of free names.
func (d *document) entries(n *yaml.Node, t reflect.Type, r rule, at string) {
	switch {
	case isNull(n) && !r.filled:
		return
	case n.Kind != yaml.MappingNode:
		d.add(n, at, "expected an object, found %s", d.found(n))
		if file := n; strings.HasSuffix(at, ".values") {
			if file.Kind == yaml.SequenceNode && len(file.Content) > 0 {
				file = file.Content[0]
			}
			if file.Tag == "!!str" && !strings.Contains(file.Value, "\n") {
				d.hint("values in files are listed in valuesFiles: [%s]", file.Value)
			}
		}
		putAway(n)
		return
	case r.filled && len(n.Content) == 0:
		d.add(n, at, "is empty")
	}
	d.eachEntry(n, at, func(key, value *yaml.Node, name string) bool {
		if r.keys != nil && !r.keys.MatchString(key.Value) {
			d.add(key, name, "%q is not a valid name: must be %s", key.Value, r.keysSay)
			return false
		}
		if t.Kind() != reflect.Interface { // else it is of values, whose plain y and on are no strings to Helm
			key.Style, key.Tag = yaml.DoubleQuotedStyle, "!!str"
		}
		d.walk(value, t, r.elements(), name)
		return true
	})
}

// eachEntry goes over a mapping, which must have neither duplicate nor merged keys. An entry is taken
// out of the mapping when take says false.
func (d *document) eachEntry(n *yaml.Node, at string, take func(key, value *yaml.Node, name string) bool) {
	seen := map[string]int{}
	var kept []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := join(at, key.Value)
		switch {
		case key.Kind != yaml.ScalarNode || isNull(key):
			d.add(key, at, "a key must be a plain word, found %s", d.found(key))
			continue
		case key.Tag == "!!merge":
			d.add(key, name, "merge keys are not supported: write the fields out")
			continue
		case seen[key.Value] > 0:
			d.add(key, name, "is set twice, first on line %d", seen[key.Value])
			continue
		}
		seen[key.Value] = key.Line
		d.lines[name] = key.Line
		if take(key, value, name) {
			kept = append(kept, key, value)
		}
	}
	n.Content = kept
}

func (d *document) items(n *yaml.Node, t reflect.Type, r rule, at string) {
	switch {
	case isNull(n) && !r.filled:
		return
	case n.Kind != yaml.SequenceNode:
		d.add(n, at, "expected a list, found %s", d.found(n))
		putAway(n)
		return
	case r.filled && len(n.Content) == 0:
		d.add(n, at, "is empty")
	}
	for i, item := range n.Content {
		d.walk(item, t, r.elements(), fmt.Sprintf("%s[%d]", at, i))
	}
}

// expand copies a tree with every alias replaced by what it stands for; nil when that is too much.
func expand(n *yaml.Node, budget *int, depth int) *yaml.Node {
	for n.Kind == yaml.AliasNode && depth <= maxDepth {
		n = n.Alias
		depth++
	}
	if *budget--; *budget < 0 || depth > maxDepth {
		return nil
	}
	c := &yaml.Node{Kind: n.Kind, Style: n.Style, Tag: n.ShortTag(), Value: n.Value, Line: n.Line, Column: n.Column}
	writable(c)
	for _, child := range n.Content {
		cc := expand(child, budget, depth+1)
		if cc == nil {
			return nil
		}
		c.Content = append(c.Content, cc)
	}
	return c
}

// writable has a scalar be written in a way that reads as the same again: the writer loses blank lines and indentation of
// block texts, the tag of a quoted number, and a null that is written as nothing.
func writable(n *yaml.Node) {
	switch {
	case n.Kind != yaml.ScalarNode:
	case n.Tag == "!!str" && (n.Style != 0 || strings.ContainsAny(n.Value, lineBreaks)):
		n.Style = yaml.DoubleQuotedStyle
	case n.Tag == "!!str":
		// As it was found: to Helm a plain yes or on is no string.
	case isNull(n) && n.Value == "":
		n.Style, n.Value = 0, "null"
	default:
		n.Style = 0
	}
}

// lineBreaks are all that YAML takes for one.
const lineBreaks = "\n\r\u0085\u2028\u2029"

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// fieldsOf gives the fields of a struct by their names in a document.
func fieldsOf(t reflect.Type) map[string]reflect.StructField {
	fields := map[string]reflect.StructField{}
	for i := range t.NumField() {
		fields[jsonName(t.Field(i))] = t.Field(i)
	}
	return fields
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// isRequired says whether a document must have the field: its tag has no omitempty.
func isRequired(f reflect.StructField) bool {
	return !strings.Contains(f.Tag.Get("json"), ",omitempty")
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
