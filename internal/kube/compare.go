package kube

import (
	"encoding/base64"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// keysOfLists are fields by which the items of a list are told apart. In a list whose items all have
// one of them, live items that nobody wanted do not count as a difference: the server and other
// controllers add items to such lists (volumes of a service account, sidecars).
var keysOfLists = []string{
	"name", "key", "mountPath", "devicePath", "containerPort", "port", "topologyKey", "type", "ip", "uid",
}

// quantityFields are the parents of values that the server may write in another unit.
var quantityFields = []string{
	"limits", "requests", "capacity", "allocatable", "hard", "sizeLimit", "default", "defaultRequest", "max", "min",
	"maxLimitRequestRatio", "divisor", "averageValue", "podFixed", "overhead",
}

// difference says where live is not as desired, as a path such as spec, replicas; nil when nowhere.
// Only what desired says counts: null and zero values equal absence, as the server drops both.
func difference(desired, live *unstructured.Unstructured) []string {
	for _, field := range sortedKeys(desired.Object) {
		switch field {
		case "apiVersion", "kind", "status":
			continue
		case "metadata":
			if at := metadataDifference(desired, live); at != nil {
				return at
			}
		default:
			if at := differ(desired.Object[field], live.Object[field], []string{field}); at != nil {
				return at
			}
		}
	}
	return nil
}

func metadataDifference(desired, live *unstructured.Unstructured) []string {
	for _, field := range []string{"labels", "annotations", "finalizers", "ownerReferences"} {
		want, _, _ := unstructured.NestedFieldNoCopy(desired.Object, "metadata", field)
		if want == nil {
			continue // others may have put there what they like
		}
		have, _, _ := unstructured.NestedFieldNoCopy(live.Object, "metadata", field)
		at := []string{"metadata", field}
		if list, ok := want.([]any); ok {
			if !containsAll(list, have, at) {
				return at
			}
			continue
		}
		if at := differ(want, have, at); at != nil {
			return at
		}
	}
	return nil
}

// containsAll says whether every wanted item is in a list that others may extend.
func containsAll(want []any, have any, path []string) bool {
	list, _ := have.([]any)
	for _, item := range want {
		if !slices.ContainsFunc(list, func(l any) bool { return differ(item, l, path) == nil }) {
			return false
		}
	}
	return true
}

// differ says where two values differ; path, which is not empty, is where they are.
func differ(want, have any, path []string) []string {
	if isZero(want) && isZero(have) {
		return nil
	}
	switch want := want.(type) {
	case nil:
		return path
	case map[string]any:
		have, ok := have.(map[string]any)
		if !ok && len(want) > 0 && !isZero(want) {
			return path
		}
		for _, key := range sortedKeys(want) {
			if at := differ(want[key], have[key], below(path, key)); at != nil {
				return at
			}
		}
		return nil
	case []any:
		have, _ := have.([]any)
		return differInList(want, have, path)
	}
	if sameScalar(want, have, path) {
		return nil
	}
	return path
}

func below(path []string, key string) []string { return append(slices.Clip(path), key) }

func differInList(want, have []any, path []string) []string {
	at := path
	if len(want) == len(have) {
		first := firstOf(want, have, path, differ)
		if first == nil || !keyed(want) {
			return first
		}
		at = first
	}
	same := func(a, b any) bool { return differ(a, b, path) == nil }
	if len(want) > len(have) || !keyed(want) || !among(want, have, same) {
		return at
	}
	return nil
}

// firstOf is where the first pair of items at the same place differs; the lists are of one length.
func firstOf(a, b []any, path []string, differ func(a, b any, path []string) []string) []string {
	for i := range a {
		if at := differ(a[i], b[i], below(path, strconv.Itoa(i))); at != nil {
			return at
		}
	}
	return nil
}

// among says whether each item has another one in a list that is the same, wherever that is.
func among(items, list []any, same func(a, b any) bool) bool {
	left := slices.Clone(list)
	for _, item := range items {
		i := slices.IndexFunc(left, func(l any) bool { return same(item, l) })
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return true
}

// keyed says whether the items are maps that have a key in common.
func keyed(items []any) bool {
	return len(items) > 0 && slices.ContainsFunc(keysOfLists, func(key string) bool {
		return !slices.ContainsFunc(items, func(item any) bool {
			m, ok := item.(map[string]any)
			return !ok || m[key] == nil
		})
	})
}

func sameScalar(want, have any, path []string) bool {
	if reflect.DeepEqual(want, have) {
		return true
	}
	if a, ok := number(want); ok {
		if b, ok := number(have); ok {
			return a == b
		}
	}
	field := path[max(0, len(path)-1):]
	if slices.Contains(field, "caBundle") && isPlaceholder(want) && !isZero(have) {
		return true
	}
	if !slices.ContainsFunc(path, func(f string) bool { return slices.Contains(quantityFields, f) }) {
		return false
	}
	a, err := resource.ParseQuantity(fmt.Sprint(want))
	if err != nil {
		return false
	}
	b, err := resource.ParseQuantity(fmt.Sprint(have))
	return err == nil && a.Cmp(b) == 0
}

// isPlaceholder says whether a caBundle is one that a chart leaves for a controller to fill.
func isPlaceholder(caBundle any) bool { return caBundle == "" || caBundle == "Cg==" }

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case int:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

// isZero says whether a value is what the server leaves out.
func isZero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case int64:
		return v == 0
	case float64:
		return v == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		for _, inner := range v {
			if !isZero(inner) {
				return false
			}
		}
		return true
	}
	return false
}

// normalized is a copy as the server keeps it: without status and what only the server writes, with a
// Secret's stringData as data, and without the rules that a controller puts together for a ClusterRole.
func normalized(obj *unstructured.Unstructured) *unstructured.Unstructured {
	obj = obj.DeepCopy()
	delete(obj.Object, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"} {
		unstructured.RemoveNestedField(obj.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(obj.Object, "metadata", "annotations", "deprecated.daemonset.template.generation")
	gk := obj.GroupVersionKind().GroupKind()
	if gk.Group == "rbac.authorization.k8s.io" && gk.Kind == "ClusterRole" && obj.Object["aggregationRule"] != nil {
		delete(obj.Object, "rules")
	}
	if gk != secretGK {
		return obj
	}
	plain, _, _ := unstructured.NestedMap(obj.Object, "stringData")
	delete(obj.Object, "stringData")
	for key, value := range plain {
		if text, ok := value.(string); ok {
			data, _ := obj.Object["data"].(map[string]any)
			if data == nil {
				data = map[string]any{}
				obj.Object["data"] = data
			}
			data[key] = base64.StdEncoding.EncodeToString([]byte(text))
		}
	}
	return obj
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
