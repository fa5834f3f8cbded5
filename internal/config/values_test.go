package config

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	sigsyaml "sigs.k8s.io/yaml"
)

// stackWith is a Stack with one release that has these lines as its values.
func stackWith(values string) string {
	return "apiVersion: rekindle.dev/v1alpha1\nkind: Stack\nmetadata: {name: platform}\nreleases:\n" +
		"- name: a\n  namespace: a\n  chart: ./charts/a\n  values:\n    " + strings.ReplaceAll(values, "\n", "\n    ") + "\n"
}

// asHelmReads gives the values of such a Stack as Helm would read them; ok is false where it reads none.
func asHelmReads(stack string) (values map[string]any, ok bool) {
	var doc struct {
		Releases []struct{ Values map[string]any }
	}
	err := sigsyaml.Unmarshal([]byte(stack), &doc)
	if err != nil || len(doc.Releases) != 1 {
		return nil, false
	}
	return doc.Releases[0].Values, true
}

func loadedValues(stack string) (map[string]any, error) {
	d, err := LoadFS(files(map[string]string{"stacks/platform.yaml": stack}), "clusters/prod.yaml")
	if err != nil {
		return nil, err
	}
	return d.Stacks[0].Releases[0].Values, nil
}

func TestValuesPassThroughUntouched(t *testing.T) {
	for name, values := range map[string]string{
		"a literal that begins with a blank line": "a:\n- |\n\n  b\n- x: |2\n\n     c\n  y: 1",
		"a folded text":                    "a: >\n   a\n     b\n   c\n\n   d",
		"a folded text with indentation":   "a: >2\n     a\n    b",
		"a folded text that keeps its end": "a: >+\n  a\n\n\nb: 1",
		"a literal that keeps its end":     "a: |+\n  a\n\n\nb: 1",
		"a literal with a blank line":      "a: |\n\n  a\n    b",
		"a literal that is stripped":       "a: |-\n  a\n\n   b\n",
		"a literal with tabs and signs":    "a: |\n  x\ta: # b\n  - \"'\n   \t--- \n",
		"nothing in a flow":                "probe: {httpGet: , x: 1}\nb: [1, {c: }]",
		"nothing":                          "a:\nb: ~\nc: null\nd: ''\ne: \"\"",
		"words that are booleans to Helm":  "a: yes\nb: off\nc: 'yes'\nd: \"off\"\ne: !!str yes\nf: y",
		"numbers":                          "a: 0o17\nb: 017\nc: 1_000\nd: 0x1F\ne: 1e3\nf: .5\ng: '1'\nh: !!int \"3\"\ni: !!float 3\nj: 1:20",
		"dates":                            "a: 2001-01-01\nb: '2001-01-01'",
		"plain text of several lines":      "a: b\n  c\n\n  d\nb: 1",
		"quoted text of several lines":     "a: 'b\n\n   c '\nb: \"b\\\n  c\\n \\u0041\n\n d\"",
		"keys that are no words":           "yes: 1\n1: 2\n'on': 3\n\"a b\": 4\n? >-\n   c\n   d\n: 5",
		"separators of lines":              "a: \"x\\u2028y\\u0085z\\uFEFF\"\nb: \"\\t\\e\\0\"",
		"aliases":                          "a: &a |\n\n  x\nb: [*a, *a]",
	} {
		t.Run(name, func(t *testing.T) {
			stack := stackWith(values)
			want, ok := asHelmReads(stack)
			if !ok {
				t.Fatalf("Helm does not read it:\n%s", stack)
			}
			if got, err := loadedValues(stack); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %#v, %v, want %#v of\n%s", got, err, want, values)
			}
		})
	}
}

// TestAnyTextPassesThroughUntouched does it for texts that chance makes, in every way that YAML has to write them.
func TestAnyTextPassesThroughUntouched(t *testing.T) {
	read := 0
	for seed := range uint64(2000) {
		stack := stackWith((&writer{rand.New(rand.NewPCG(seed, 12))}).mapping(0))
		want, ok := asHelmReads(stack)
		if !ok {
			continue // chance made no YAML
		}
		read++
		if got, err := loadedValues(stack); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: got %#v, %v, want %#v of\n%s", seed, got, err, want, stack)
		}
	}
	if read < 500 {
		t.Errorf("only %d of the texts were YAML", read)
	}
}

// writer writes YAML by chance.
type writer struct{ *rand.Rand }

func (w *writer) one(of ...string) string { return of[w.IntN(len(of))] }

// mapping has lines of this depth.
func (w *writer) mapping(depth int) string {
	var lines []string
	for i := range 1 + w.IntN(4) {
		lines = append(lines, fmt.Sprintf("k%d:%s", i, w.value(depth)))
	}
	return strings.Join(lines, "\n"+strings.Repeat("  ", depth))
}

// value is what follows a key.
func (w *writer) value(depth int) string {
	indent := "\n" + strings.Repeat("  ", depth+1)
	switch n := w.IntN(10); {
	case n < 4:
		return w.block(indent)
	case n == 4 && depth < 3:
		return indent + w.mapping(depth+1)
	case n == 5 && depth < 3:
		return indent + "- x:" + w.value(depth+2) + indent + "-" + w.block(indent+"  ") + indent + "- " + w.mapping(depth+2)
	case n == 6:
		return " {a: " + w.scalar() + ", b: [" + w.scalar() + ", " + w.scalar() + "], c: }"
	}
	return " " + w.scalar()
}

func (w *writer) scalar() string {
	return w.one("", "~", "null", "yes", "No", "off", "y", "1", "017", "1.0", "1e3", "0x1F", "1_0", "2001-01-01", "a", "a b", "'yes'", `"1"`, "''", "' a'", `"\n a\n"`,
		`"\u2028"`, "'a # b'", "a#b", "-a", "'- a'", `"a: b"`, "!!str 1", "!!str no", "'~'", `"\ta"`)
}

// block is a literal or folded text.
func (w *writer) block(indent string) string {
	text := " " + w.one("|", ">") + w.one("", "", "1", "2", "4") + w.one("", "-", "+")
	for range 1 + w.IntN(6) {
		text += w.one("\n", indent+"a", indent+"b c", indent+"  d", indent+" e", indent+"\tf", indent+"# g", indent+"- h: ", indent+"i ", indent)
	}
	return text
}

// FuzzValues looks for values that are not read as Helm reads them. A tag without a name, as in "a: ! 1", is known to be
// one: the parser does not tell of it.
func FuzzValues(f *testing.F) {
	for seed := range uint64(50) {
		f.Add((&writer{rand.New(rand.NewPCG(seed, 12))}).mapping(0))
	}
	f.Fuzz(func(t *testing.T, values string) {
		stack := stackWith(values)
		want, ok := asHelmReads(stack)
		got, err := loadedValues(stack)
		if !ok || err != nil || strings.Contains(values, "$") || strings.Contains(strings.ReplaceAll(values, "!!", ""), "!") {
			t.Skip("no values, or some with variables or a tag without a name")
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %#v, want %#v", got, want)
		}
	})
}
