package kube

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// share is what one manager owns of an object.
type share struct {
	manager string
	applied bool           // by server-side apply
	fields  map[string]any // in the format FieldsV1
}

// shares are what the managers own, by the object itself and not by one of the subresources but those that are named.
func shares(obj *unstructured.Unstructured, subresources ...string) []share {
	var found []share
	for _, entry := range obj.GetManagedFields() {
		if entry.FieldsV1 == nil || entry.Subresource != "" && !slices.Contains(subresources, entry.Subresource) {
			continue
		}
		s := share{manager: entry.Manager, applied: entry.Operation == metav1.ManagedFieldsOperationApply}
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &s.fields) == nil {
			found = append(found, s)
		}
	}
	return found
}

// removed says whether the manager owns, by an earlier apply, a field of the live object that desired
// no longer has. Server-side apply would take that field away, which no comparison of desired with
// live can see.
func removed(desired, live *unstructured.Unstructured, manager string) bool {
	return slices.ContainsFunc(shares(live), func(s share) bool {
		return s.manager == manager && s.applied && !covers(desired.Object, s.fields)
	})
}

// extended says whether something may have been added to a field of the live object that is desired as a whole: a
// selector, the subjects of a binding, the rules of a policy. To other maps and lists anybody may add, and an apply
// keeps it. Where one manager alone has ever written, what is more is what the server filled in; what an earlier apply
// of the manager put there may be desired no longer.
func extended(desired, live *unstructured.Unstructured, manager string) bool {
	all, body := shares(live), bodyOf(desired)
	if len(all) == 0 {
		return len(body) > 0 // who made it what it is was thrown away
	}
	more := slices.DeleteFunc(slices.Clone(all), func(s share) bool { return !extends(s.fields, body, live.Object) })
	return len(more) > 0 && slices.ContainsFunc(all, func(s share) bool {
		return s.manager != all[0].manager || s.applied && s.manager == manager
	})
}

// bodyOf is an object without what identifies it and what anybody may write.
func bodyOf(obj *unstructured.Unstructured) map[string]any {
	body := maps.Clone(obj.Object)
	for _, field := range []string{"apiVersion", "kind", "metadata", "status"} {
		delete(body, field)
	}
	return body
}

// extends says whether a whole map or list that is owned, and is desired, is not equal to what is desired.
func extends(owned map[string]any, desired, live any) bool {
	for key, inner := range owned {
		want, wanted := child(desired, key)
		have, found := child(live, key)
		if key == "." || !wanted || !found {
			continue
		}
		set, _ := inner.(map[string]any)
		switch have.(type) {
		case map[string]any, []any:
			if len(set) == 0 && unequal(want, have, []string{key}) != nil || extends(set, want, have) {
				return true
			}
		}
	}
	return false
}

// ownerOf names the manager of a field of an object, empty when nobody has it, rekindle does, or one manager alone has ever
// written the object. The numbers in the path are places in the object's lists.
func ownerOf(obj *unstructured.Unstructured, at []string) string {
	all := shares(obj, "scale")
	for _, s := range all {
		if s.manager != Manager && ownsField(s.fields, obj.Object, at) && slices.ContainsFunc(all, func(o share) bool { return o.manager != s.manager }) {
			return s.manager
		}
	}
	return ""
}

func ownsField(owned map[string]any, value any, at []string) bool {
	if len(at) == 0 || len(owned) == 0 {
		return true
	}
	if fields, ok := value.(map[string]any); ok {
		set, found := owned["f:"+at[0]].(map[string]any)
		return found && ownsField(set, fields[at[0]], at[1:])
	}
	items, _ := value.([]any)
	place, err := strconv.Atoi(at[0])
	if err != nil || place >= len(items) {
		return false
	}
	return slices.ContainsFunc(sortedKeys(owned), func(key string) bool {
		_, is := child(items[place:place+1], key)
		set, _ := owned[key].(map[string]any)
		return key != "." && is && ownsField(set, items[place], at[1:])
	})
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
