package config

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// anything takes what is passed on untouched, but for variables in its strings.
func (d *document) anything(n *yaml.Node, at string) {
	switch n.Kind {
	case yaml.MappingNode:
		d.entries(n, reflect.TypeFor[any](), rule{}, at)
	case yaml.SequenceNode:
		d.items(n, reflect.TypeFor[any](), rule{}, at)
	default:
		d.free(n, at)
	}
}

// free takes a scalar that JSON can hold, which is what Helm makes of values.
func (d *document) free(n *yaml.Node, at string) {
	var v any
	switch n.Tag {
	case "!!str":
		d.substitute(n, at)
		return
	case "!!int", "!!float", "!!bool", "!!null", "!!timestamp":
		if err := n.Decode(&v); err != nil {
			d.add(n, at, "%q does not match its YAML tag", n.Value)
			putAway(n)
		} else if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			d.add(n, at, "%s is not a number that values can hold", n.Value)
			putAway(n)
		}
	default:
		d.add(n, at, "the YAML tag %s is not supported", n.Tag)
		putAway(n)
	}
}

func (d *document) scalar(n *yaml.Node, t reflect.Type, r rule, at string) {
	if n.Kind != yaml.ScalarNode {
		d.add(n, at, "expected %s, found %s", wanted(t), d.found(n))
		return
	}
	was := len(d.faults)
	replaced := n.Tag == "!!str" && !r.literal && d.substitute(n, at)
	if len(d.faults) > was {
		return
	}
	switch t.Kind() {
	case reflect.String:
		d.text(n, r, at)
	case reflect.Bool:
		value := strings.ToLower(n.Value)
		if (n.Tag != "!!bool" && !replaced) || (value != "true" && value != "false") {
			d.add(n, at, "expected true or false, found %s", d.found(n))
			return
		}
		n.Style, n.Tag, n.Value = 0, "!!bool", value
	default:
		v, err := strconv.Atoi(n.Value)
		if err != nil || (n.Tag != "!!int" && !replaced) {
			d.add(n, at, "expected a whole number, found %s", d.found(n))
			return
		}
		if r.max > 0 && (v < r.min || v > r.max) {
			d.add(n, at, "%d: must be %d to %d", v, r.min, r.max)
		}
		n.Style, n.Tag, n.Value = 0, "!!int", strconv.Itoa(v)
	}
}

// text checks a string, which stays one however it looks.
func (d *document) text(n *yaml.Node, r rule, at string) {
	switch {
	case isNull(n):
		d.add(n, at, "is empty: write a string, or leave the field out")
	case n.Tag != "!!str":
		d.add(n, at, "expected a string, found %s; put it in quotes%s", d.found(n), d.shown(": %q", n.Value))
	case r.filled && n.Value == "":
		d.add(n, at, "is empty")
	case n.Value == "":
	case r.enum != nil && !slices.Contains(r.enum, n.Value):
		d.add(n, at, "%smust be %s%s", d.shown("%q: ", n.Value), r.says, didYouMean(n.Value, r.enum))
	case r.pattern != nil && !r.pattern.MatchString(n.Value), r.length > 0 && len(n.Value) > r.length:
		d.add(n, at, "%smust be %s", d.shown("%q: ", n.Value), r.says)
	}
	n.Style, n.Tag = yaml.DoubleQuotedStyle, "!!str"
}

func (d *document) duration(n *yaml.Node, at string) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		d.add(n, at, "expected a duration such as 90s, 5m or 1h30m, found %s", d.found(n))
		return
	}
	was := len(d.faults)
	if d.substitute(n, at); len(d.faults) > was {
		return
	}
	var v Duration
	raw, err := json.Marshal(n.Value)
	if err == nil {
		err = v.UnmarshalJSON(raw)
	}
	if err != nil {
		d.add(n, at, "%v", err)
	} else if v.Duration <= 0 {
		d.add(n, at, "%s: must be greater than zero", n.Value)
	}
	n.Style = yaml.DoubleQuotedStyle
}

var variable = regexp.MustCompile(`\$(\$\{|\{([^}]*)\})`)

// substitute puts variables in place of ${NAME} in one scalar, which stays a string whatever the
// variable holds; $${ stands for ${ itself. It says whether there was anything to do.
func (d *document) substitute(n *yaml.Node, at string) bool {
	if !strings.Contains(n.Value, "${") {
		return false
	}
	n.Value = variable.ReplaceAllStringFunc(n.Value, func(m string) string {
		if m == "$${" {
			return "${"
		}
		name := m[2 : len(m)-1]
		value, ok := d.variables[name]
		if !ok && len(d.faults) <= maxFaults {
			d.add(n, at, "the variable ${%s} is not in spec.variables%s", name, didYouMean(name, names(d.variables)))
		}
		return value
	})
	n.Style, n.Tag = yaml.DoubleQuotedStyle, "!!str"
	return true
}

// wanted names a type for a person.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	}
	return "a string"
}

// credentialForms is how a field that leads to a credential is written. Whoever writes one otherwise may have written the
// credential itself: no value below it is shown.
func credentialForms(typ string) string {
	switch typ {
	case "ValueSource":
		return "{env: …}, {file: …} or {exec: […]}"
	case "KeySource":
		return "{file: …}, {env: {ENTRY: VARIABLE}}, {exec: […]} or {repo: …}"
	}
	return ""
}

// shown is a value in a text, or nothing where values are not shown.
func (d *document) shown(format, value string) string {
	if d.hides {
		return ""
	}
	return fmt.Sprintf(format, value)
}

// found is what a node is for a person, without its value where values are not shown.
func (d *document) found(n *yaml.Node) string {
	if d.hides && n.Kind == yaml.ScalarNode {
		return "a value that is not shown"
	}
	return found(n)
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
	case "!!timestamp":
		return "the date " + n.Value
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return "the boolean " + n.Value
	case "!!null":
		return "nothing"
	}
	return strconv.Quote(n.Value)
}
