package kube

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// ServedBy are the kinds that a CRD has served, one for each version; none where the object is no CRD.
func ServedBy(crd *unstructured.Unstructured) []schema.GroupVersionKind {
	if crd.GroupVersionKind().GroupKind() != crdKind {
		return nil
	}
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	var kinds []schema.GroupVersionKind
	for _, v := range versions {
		version, _ := v.(map[string]any)
		if name, _ := version["name"].(string); version["served"] == true {
			kinds = append(kinds, schema.GroupVersionKind{Group: group, Version: name, Kind: kind})
		}
	}
	return kinds
}

// ServedVersions are those in which the CRDs among some objects have their kinds served.
func ServedVersions(objs []*unstructured.Unstructured) map[schema.GroupKind][]string {
	versions := map[schema.GroupKind][]string{}
	for _, obj := range objs {
		for _, kind := range ServedBy(obj) {
			versions[kind.GroupKind()] = append(versions[kind.GroupKind()], kind.Version)
		}
	}
	return versions
}

// IsBuiltIn says whether Kubernetes has a kind of itself, by the libraries here: a cluster of another version may not serve it any more.
func IsBuiltIn(kind schema.GroupVersionKind) bool {
	return scheme.Scheme.Recognizes(kind) || kind.GroupKind() == crdKind || kind.Group == groupAPI && kind.Kind == kindAPIService
}
