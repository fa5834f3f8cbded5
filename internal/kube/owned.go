package kube

import (
	"encoding/json"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// removed says whether the manager owns, by an earlier apply, a field of the live object that desired
// no longer has. Server-side apply would take that field away, which no comparison of desired with
// live can see.
func removed(desired, live *unstructured.Unstructured, manager string) bool {
	for _, entry := range live.GetManagedFields() {
		if entry.Manager != manager || entry.Operation != metav1.ManagedFieldsOperationApply ||
			entry.Subresource != "" || entry.FieldsV1 == nil {
			continue
		}
		var owned map[string]any
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &owned) != nil {
			continue
		}
		if !covers(desired.Object, owned) {
			return true
		}
	}
	return false
}

// covers says whether a value has every field of an owned set. The set is in the format FieldsV1: keys
// are f:<field>, k:<list item with these fields as JSON>, v:<list item as JSON>, or "." for itself.
func covers(value any, owned map[string]any) bool {
	for key, inner := range owned {
		if key == "." {
			continue
		}
		child, found := child(value, key)
		if !found {
			return false
		}
		if set, ok := inner.(map[string]any); ok && len(set) > 0 && !covers(child, set) {
			return false
		}
	}
	return true
}

func child(value any, key string) (any, bool) {
	prefix, rest, _ := strings.Cut(key, ":")
	if prefix == "f" {
		fields, _ := value.(map[string]any)
		inner, found := fields[rest]
		return inner, found
	}
	var wanted any
	if json.Unmarshal([]byte(rest), &wanted) != nil {
		return nil, true // not understood: no reason to write
	}
	items, ok := value.([]any)
	if !ok {
		return nil, false
	}
	for _, item := range items {
		if isItem(item, wanted) {
			return item, true
		}
	}
	return nil, false
}

// isItem says whether a list item is the one meant. Key fields that it lacks were defaulted.
func isItem(item, wanted any) bool {
	keys, ok := wanted.(map[string]any)
	if !ok {
		return sameScalar(wanted, item, nil)
	}
	fields, ok := item.(map[string]any)
	if !ok {
		return reflect.DeepEqual(item, wanted)
	}
	for key, want := range keys {
		if have, found := fields[key]; found && !sameScalar(want, have, nil) {
			return false
		}
	}
	return true
}
