package kube

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// Ref names an object. It is comparable.
type Ref struct {
	Group     string
	Version   string // empty: the version that the server prefers
	Kind      string
	Namespace string // empty for an object of the cluster
	Name      string
}

// String is "Deployment shop/frontend", or "Namespace shop" for an object of the cluster.
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// GVK is the group, version and kind.
func (r Ref) GVK() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
}

// GroupKind is the group and kind.
func (r Ref) GroupKind() schema.GroupKind { return schema.GroupKind{Group: r.Group, Kind: r.Kind} }

// Unversioned names the same object whatever version it is asked for in.
func (r Ref) Unversioned() Ref {
	r.Version = ""
	return r
}

// NewRef names an object by its parts.
func NewRef(gvk schema.GroupVersionKind, namespace, name string) Ref {
	return Ref{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: namespace, Name: name}
}

// RefOf names an object.
func RefOf(obj *unstructured.Unstructured) Ref {
	return NewRef(obj.GroupVersionKind(), obj.GetNamespace(), obj.GetName())
}

// RefsOf names objects.
func RefsOf(objs []*unstructured.Unstructured) []Ref {
	refs := make([]Ref, len(objs))
	for i, obj := range objs {
		refs[i] = RefOf(obj)
	}
	return refs
}

// ParseManifest reads the objects of a YAML or JSON stream. Empty documents are left out, lists are
// taken apart. An error names the document by its number, counted from 1, and never quotes its content.
func ParseManifest(manifest []byte) ([]*unstructured.Unstructured, error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest)))
	var objs []*unstructured.Unstructured
	for number := 1; ; number++ {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", number, err)
		}
		found, err := parseDocument(doc)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", number, err)
		}
		objs = append(objs, found...)
	}
}

func parseDocument(doc []byte) ([]*unstructured.Unstructured, error) {
	raw, err := yaml.YAMLToJSON(doc)
	if err != nil {
		return nil, err
	}
	if trimmed := bytes.TrimSpace(raw); len(trimmed) == 0 || string(trimmed) == "null" || string(trimmed) == "{}" {
		return nil, nil
	}
	obj := &unstructured.Unstructured{}
	if err := obj.UnmarshalJSON(raw); err != nil {
		return nil, errors.New("not a Kubernetes object: it needs apiVersion and kind")
	}
	if !obj.IsList() {
		return one(obj)
	}
	var objs []*unstructured.Unstructured
	err = obj.EachListItem(func(item runtime.Object) error {
		inner, ok := item.(*unstructured.Unstructured)
		if !ok {
			return errors.New("a list item is not an object")
		}
		found, err := one(inner)
		objs = append(objs, found...)
		return err
	})
	return objs, err
}

func one(obj *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	switch {
	case obj.GetKind() == "" || obj.GetAPIVersion() == "":
		return nil, errors.New("apiVersion or kind is missing")
	case obj.GetName() == "":
		return nil, fmt.Errorf("%s has no metadata.name", obj.GetKind())
	}
	return []*unstructured.Unstructured{obj}, nil
}

// Place gives every object that lives in a namespace and names none the given one, and takes the
// namespace from objects of the cluster. The objects are changed. Objects of a kind that the server
// does not know are told by a CRD among the objects, or else left as they are.
func (c *Client) Place(objs []*unstructured.Unstructured, namespace string) error {
	scopes := scopesOf(objs)
	for _, obj := range objs {
		gvk := obj.GroupVersionKind()
		namespaced, known := scopes[gvk.GroupKind()]
		if !known {
			mapping, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
			switch {
			case meta.IsNoMatchError(err):
				continue
			case err != nil:
				return err
			}
			namespaced = mapping.Scope.Name() == meta.RESTScopeNameNamespace
			scopes[gvk.GroupKind()] = namespaced
		}
		switch {
		case !namespaced:
			obj.SetNamespace("")
		case obj.GetNamespace() == "":
			obj.SetNamespace(namespace)
		}
	}
	return nil
}

// scopesOf tells for the kinds that CRDs among the objects define whether they are namespaced.
func scopesOf(objs []*unstructured.Unstructured) map[schema.GroupKind]bool {
	scopes := map[schema.GroupKind]bool{}
	for _, obj := range objs {
		if obj.GroupVersionKind().GroupKind() != crdKind {
			continue
		}
		group, _, _ := unstructured.NestedString(obj.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(obj.Object, "spec", "names", "kind")
		scope, _, _ := unstructured.NestedString(obj.Object, "spec", "scope")
		scopes[schema.GroupKind{Group: group, Kind: kind}] = scope == "Namespaced"
	}
	return scopes
}

// Resource is how to reach an object, in any version that is served where its reference has none.
func (c *Client) Resource(ref Ref) (dynamic.ResourceInterface, error) {
	var versions []string
	if ref.Version != "" {
		versions = []string{ref.Version}
	}
	mapping, err := c.mapper.RESTMapping(ref.GroupKind(), versions...)
	if err != nil {
		return nil, err
	}
	resource := c.dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return resource, nil
	}
	if ref.Namespace == "" {
		return nil, fmt.Errorf("%s has no namespace", ref)
	}
	return resource.Namespace(ref.Namespace), nil
}

// FromJSON makes objects of what was decoded from YAML or JSON by any library: their numbers become those
// that unstructured objects have.
func FromJSON(decoded []map[string]any) ([]*unstructured.Unstructured, error) {
	objs := make([]*unstructured.Unstructured, len(decoded))
	for i, value := range decoded {
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		objs[i] = &unstructured.Unstructured{}
		if err := objs[i].UnmarshalJSON(raw); err != nil {
			return nil, err
		}
	}
	return objs, nil
}
