package argocd

import (
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
)

// sourcesOf are the sources of an Application, in the order in which Argo CD reports their revisions. several says that it reports
// them as a list, as it does of spec.sources, also of one.
func sourcesOf(obj *unstructured.Unstructured) (sources []map[string]any, several bool) {
	if hydrator, found, _ := unstructured.NestedMap(obj.Object, "spec", "sourceHydrator"); found {
		return []map[string]any{hydrated(hydrator)}, false
	}
	if list, _, _ := unstructured.NestedSlice(obj.Object, "spec", "sources"); len(list) > 0 {
		for _, entry := range list {
			source, _ := entry.(map[string]any)
			sources = append(sources, source)
		}
		return sources, true
	}
	source, _, _ := unstructured.NestedMap(obj.Object, "spec", "source")
	return []map[string]any{source}, false
}

// hydrated is the source that an Application with a hydrator applies: the branch that the rendered manifests are pushed to.
func hydrated(hydrator map[string]any) map[string]any {
	text := func(fields ...string) string {
		value, _, _ := unstructured.NestedString(hydrator, fields...)
		return value
	}
	url := text("syncSource", "repoURL")
	if url == "" {
		url = text("drySource", "repoURL")
	}
	return map[string]any{"repoURL": url, "path": text("syncSource", "path"), "targetRevision": text("syncSource", "targetBranch")}
}

// revisionsIn are the revisions that a part of a status reports, one for each source; nil when it reports none.
func revisionsIn(obj *unstructured.Unstructured, several bool, fields ...string) []string {
	fields = slices.Clone(fields)
	if several {
		list, _, _ := unstructured.NestedStringSlice(obj.Object, append(fields, "revisions")...)
		return list
	}
	if one, _, _ := unstructured.NestedString(obj.Object, append(fields, "revision")...); one != "" {
		return []string{one}
	}
	return nil
}

// isCompared says whether the last comparison was of the present spec. A commit that changes only a block in it, as helm, changes
// no revision of a chart that is from elsewhere.
func isCompared(obj *unstructured.Unstructured) bool {
	to, _, _ := unstructured.NestedMap(obj.Object, "status", "sync", "comparedTo")
	var compared []any
	sources, several := sourcesOf(obj)
	if several {
		compared, _ = to["sources"].([]any)
	} else {
		compared = []any{to["source"]}
	}
	if len(compared) != len(sources) {
		return false
	}
	for i, source := range sources {
		if !alike(source, compared[i]) {
			return false
		}
	}
	for _, field := range []string{"destination", "ignoreDifferences"} {
		wanted, _, _ := unstructured.NestedFieldNoCopy(obj.Object, "spec", field)
		if !alike(wanted, to[field]) {
			return false
		}
	}
	return true
}

// alike says whether two parts of a spec mean the same to Argo CD, which leaves out of its status what is empty, and takes it out of the
// spec, too.
func alike(a, b any) bool { return reflect.DeepEqual(essence(a, false), essence(b, false)) }

// essence is a part of a spec without what is empty. In what the user is free to fill, as the values of a chart, only null says nothing:
// a patch, by which Argo CD writes its status, cannot have it.
func essence(part any, free bool) any {
	switch part := part.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range part {
			ours := free || slices.Contains([]string{"valuesObject", "commonLabels", "commonAnnotations"}, key)
			if value = essence(value, ours); value != nil && (free || !isEmpty(value)) {
				out[key] = value
			}
		}
		if len(out) == 0 && !free {
			return nil
		}
		return out
	case []any:
		if len(part) == 0 && !free {
			return nil
		}
		out := make([]any, len(part))
		for i, value := range part {
			out[i] = essence(value, free)
		}
		return out
	}
	return part
}

func isEmpty(value any) bool {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() == 0
	}
	return v.IsZero()
}

// relation is what a source has to do with the repository that is followed.
type relation int

const (
	foreign relation = iota // another repository, another ref of it, or a chart
	kindred                 // the same repository at its default branch, which may be the one that is followed
	ours                    // the same ref of the same repository
)

// relations are those of each source of an Application with what another one follows, however they spell it.
func relations(root, obj *unstructured.Unstructured) []relation {
	followed, _ := sourcesOf(root)
	sources, _ := sourcesOf(obj)
	list := make([]relation, len(sources))
	for i, source := range sources {
		list[i] = relate(followed[0], source)
	}
	return list
}

func relate(followed, source map[string]any) relation {
	text := func(source map[string]any, field string) string { value, _ := source[field].(string); return value }
	address := func(source map[string]any) gitrepo.Origin {
		return gitrepo.NewOrigin(text(source, "repoURL"), config.Ref{})
	}
	if text(source, "chart") != "" || address(followed) != address(source) {
		return foreign
	}
	full := text(followed, "targetRevision")
	_, short, _ := strings.Cut(strings.TrimPrefix(full, "refs/"), "/") // of refs/heads/main and of refs/tags/v1
	switch ref := text(source, "targetRevision"); {
	case ref == full || ref == short && strings.HasPrefix(full, "refs/"):
		return ours
	case ref == "" || ref == "HEAD":
		return kindred
	}
	return foreign
}
