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
			if len(set) == 0 && unequal(want, have, []string{key}, false) != nil || extends(set, want, have) {
				return true
			}
		}
	}
	return false
}

// ownerOf names the manager of a field of an object, empty when nobody has it, rekindle does, or one manager alone has ever
// written the object. Of several it is the one that names the field most closely: an API server that has no schema of a kind yet
// gives whole branches to who writes then. The numbers in the path are places in the object's lists.
func ownerOf(obj *unstructured.Unstructured, at []string) string {
	owner, closest, managers := "", -1, map[string]bool{}
	for _, s := range shares(obj, "scale") {
		managers[s.manager] = true
		depth := ownsField(s.fields, obj.Object, at)
		if depth > closest || depth == closest && owner == Manager {
			owner, closest = s.manager, depth
		}
	}
	if closest < 0 || owner == Manager || len(managers) < 2 {
		return ""
	}
	return owner
}

// ownsField says how many steps of the path an owned set names, up to the field or to what contains it; -1 when the set has not
// got the field.
func ownsField(owned map[string]any, value any, at []string) int {
	if len(at) == 0 || len(owned) == 0 {
		return 0
	}
	below := -1
	if fields, ok := value.(map[string]any); ok {
		if set, found := owned["f:"+at[0]].(map[string]any); found {
			below = ownsField(set, fields[at[0]], at[1:])
		}
	} else if items, ok := value.([]any); ok {
		below = ownsItem(owned, items, at)
	}
	if below < 0 {
		return -1
	}
	return below + 1
}

// ownsItem is ownsField for a list, of which the path names a place.
func ownsItem(owned map[string]any, items []any, at []string) int {
	place, err := strconv.Atoi(at[0])
	if err != nil || place >= len(items) {
		return -1
	}
	deepest := -1
	for _, key := range sortedKeys(owned) {
		if _, is := child(items[place:place+1], key); is && key != "." {
			set, _ := owned[key].(map[string]any)
			deepest = max(deepest, ownsField(set, items[place], at[1:]))
		}
	}
	return deepest
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
