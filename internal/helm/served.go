package helm

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// isRecorded says whether what Helm builds is what was, and not what is wanted. The first thing that an upgrade builds is the new
// manifest, which may be the same as the last one.
func (g *guard) isRecorded(manifest string) bool {
	return g.removes || g.builds > 1 && slices.ContainsFunc(g.history, func(rel *release.Release) bool { return rel.Manifest == manifest })
}

// buildRecorded builds what a revision has recorded, where Helm could not. It would neither upgrade nor uninstall any more a release
// that has an object in a version that the server has ceased to serve, as after an upgrade of the CRD. Hooks are to be made, and
// stay as they are.
func (g *guard) buildRecorded(manifest []byte, cause error) (helmkube.ResourceList, error) {
	objs, err := kube.ParseManifest(manifest)
	if err != nil {
		return nil, errors.Join(cause, err)
	}
	for _, obj := range objs {
		if obj.GetAnnotations()[release.HookAnnotation] != "" {
			return nil, cause
		}
	}
	if objs, err = asServed(g.client, objs, g.release.Namespace); err != nil {
		return nil, errors.Join(cause, err)
	}
	var served bytes.Buffer
	for _, obj := range objs {
		raw, err := yaml.Marshal(obj.Object)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&served, "---\n%s", raw)
	}
	return g.Client.Build(&served, false)
}

// asServed gives recorded objects in versions that the server serves and in their namespaces, without those of kinds that it does not
// serve at all: of these there is nothing. The objects are changed.
func asServed(c *kube.Client, objs []*unstructured.Unstructured, namespace string) (there []*unstructured.Unstructured, err error) {
	for _, obj := range objs {
		kind := obj.GroupVersionKind()
		mapping, err := c.Mapper().RESTMapping(kind.GroupKind(), kind.Version)
		if meta.IsNoMatchError(err) {
			mapping, err = c.Mapper().RESTMapping(kind.GroupKind())
		}
		switch {
		case meta.IsNoMatchError(err):
			continue
		case err != nil:
			return nil, err
		}
		obj.SetGroupVersionKind(mapping.GroupVersionKind)
		there = append(there, obj)
	}
	return there, c.Place(there, namespace)
}
