package stacks

import (
	"slices"
	"testing"
)

func TestValuesThatDifferAreNamedByTheirPaths(t *testing.T) {
	kept := asJSON(map[string]any{"replicas": 2, "image": map[string]any{"tag": "1", "name": "x"}, "args": []any{"a"}, "gone": true})
	wanted := asJSON(map[string]any{"replicas": int64(3), "image": map[string]any{"tag": "2", "name": "x"}, "args": []any{"a"}, "new": map[string]any{"a": 1}})
	if got, want := differing(wanted, kept, nil), []string{"gone", "image.tag", "new", "replicas"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := differing(asJSON(nil), asJSON(map[string]any{}), nil); len(got) > 0 {
		t.Errorf("no values and none differ in %q", got)
	}
	same := asJSON(map[string]any{"n": 2})
	if got := differing(same, asJSON(map[string]any{"n": 2.0}), nil); len(got) > 0 {
		t.Errorf("equal numbers differ in %q", got)
	}
}
