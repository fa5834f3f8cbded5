package helm

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// Describe says of a difference what it is, and who set the field last: "Deployment shop/web: spec.replicas differs, set by
// kubectl-edit". Where the cluster does not say who, it says nothing of that.
func Describe(ctx context.Context, c *kube.Client, d kube.Difference) string {
	if d.Missing {
		return d.String()
	}
	obj, err := c.Get(ctx, d.Ref)
	if err != nil || obj == nil {
		return d.String()
	}
	if by := managerOf(obj, d.Path); by != "" {
		return d.String() + ", set by " + by
	}
	return d.String()
}

// managerOf is the one that wrote last, of the field managers that own a field, or a part of it; empty where that is only
// rekindle or Helm within it.
func managerOf(obj *unstructured.Unstructured, path string) (manager string) {
	var latest int64
	for _, entry := range obj.GetManagedFields() {
		if entry.Manager == kube.Manager || entry.Manager == filepath.Base(os.Args[0]) || entry.FieldsV1 == nil { // as Helm calls itself
			continue
		}
		var fields map[string]any
		if json.Unmarshal(entry.FieldsV1.Raw, &fields) != nil || !owns(fields, obj.Object, strings.Split(path, ".")) {
			continue
		}
		if at := entry.Time; manager == "" || at != nil && at.Unix() >= latest {
			manager = entry.Manager
			if at != nil {
				latest = at.Unix()
			}
		}
	}
	return manager
}

// owns walks a path through the fields of a manager and the object that they are of, in which keys may have dots.
func owns(fields map[string]any, value any, path []string) bool {
	if len(path) == 0 {
		return true
	}
	switch value := value.(type) {
	case map[string]any:
		for n := len(path); n > 0; n-- {
			key := strings.Join(path[:n], ".")
			if below, ok := fields["f:"+key].(map[string]any); ok {
				return len(below) == 0 || owns(below, value[key], path[n:])
			}
		}
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil || i >= len(value) {
			return false
		}
		for name, below := range fields {
			key, isKey := strings.CutPrefix(name, "k:")
			if below, _ := below.(map[string]any); isKey && hasAll(value[i], key) && owns(below, value[i], path[1:]) {
				return true
			}
		}
	}
	return false
}

// hasAll says whether the item of a list has the keys by which a manager names it.
func hasAll(item any, keys string) bool {
	fields, _ := item.(map[string]any)
	var want map[string]any
	if json.Unmarshal([]byte(keys), &want) != nil {
		return false
	}
	for name, value := range want {
		a, errA := json.Marshal(value)
		b, errB := json.Marshal(fields[name])
		if errA != nil || errB != nil || string(a) != string(b) {
			return false
		}
	}
	return true
}
