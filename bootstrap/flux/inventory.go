package flux

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// isRemote says whether an object of Flux applies what it has in another cluster.
func isRemote(obj *unstructured.Unstructured) bool {
	_, remote, _ := unstructured.NestedMap(obj.Object, "spec", "kubeConfig")
	return remote && strings.HasSuffix(obj.GroupVersionKind().Group, ".toolkit.fluxcd.io")
}

// inventory gives the objects that a Kustomization has applied in this cluster.
func inventory(obj *unstructured.Unstructured) []kube.Ref {
	if isRemote(obj) {
		return nil
	}
	entries, _, _ := unstructured.NestedSlice(obj.Object, "status", "inventory", "entries")
	var refs []kube.Ref
	for _, entry := range entries {
		fields, _ := entry.(map[string]any)
		id, _ := fields["id"].(string)
		v, _ := fields["v"].(string)
		if ref, ok := parseID(id, v); ok {
			refs = append(refs, newest(ref))
		}
	}
	return refs
}

// newest is a reference by the version that is asked for here: a manifest may name an older one of the same object.
func newest(ref kube.Ref) kube.Ref {
	if ref.Group == kustomizeGroup && ref.Kind == kindKustomization || ref.Group == sourceGroup && ref.Kind == kindRepository {
		ref.Version = version
	}
	return ref
}

// parseID reads "namespace_name_group_kind". A name may have colons doubled to underscores, as those
// of RBAC objects ("system__reader"), so the parts are cut from the outside.
func parseID(id, version string) (kube.Ref, bool) {
	namespace, rest, ok := strings.Cut(id, "_")
	if !ok {
		return kube.Ref{}, false
	}
	last := strings.LastIndex(rest, "_")
	if last < 0 {
		return kube.Ref{}, false
	}
	kind, rest := rest[last+1:], rest[:last]
	last = strings.LastIndex(rest, "_")
	if last < 0 {
		return kube.Ref{}, false
	}
	group, name := rest[last+1:], strings.ReplaceAll(rest[:last], "__", ":")
	return kube.Ref{Group: group, Version: version, Kind: kind, Namespace: namespace, Name: name}, true
}
