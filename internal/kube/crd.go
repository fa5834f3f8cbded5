package kube

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Manager is the field manager of what rekindle applies by itself.
const Manager = "rekindle"

// IsWritten says whether rekindle itself has written an object, with Helm or without: its labels may be on what somebody else made.
func IsWritten(obj metav1.Object) bool {
	return slices.ContainsFunc(obj.GetManagedFields(), func(w metav1.ManagedFieldsEntry) bool { return w.Manager == Manager })
}

// EstablishCRDs applies CRDs, in parallel, and waits until the server serves their kinds. One that
// exists is written only when ours differs; fields that another manager owns are not taken from it:
// that is refused with its name.
func (c *Client) EstablishCRDs(ctx context.Context, crds []*unstructured.Unstructured, p plan.Progress) ([]Change, error) {
	for _, crd := range crds {
		if ref := RefOf(crd); !IsCRD(ref) {
			return nil, fault.New(fault.Failed, "is not a CustomResourceDefinition").On("%s", ref)
		}
	}
	return c.Apply(ctx, crds, ApplyOptions{Manager: Manager, Progress: p})
}

// established waits until CRDs are Established and then lets the discovery be read anew.
func (c *Client) established(ctx context.Context, refs []Ref, p plan.Progress) error {
	if len(refs) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return c.Watch(ctx).Ready(ctx, refs, p)
}

// IsCRD says whether an object defines a kind.
func IsCRD(ref Ref) bool { return ref.GroupKind() == crdKind }

// HasObjects says whether there are objects of a CRD, whoever made them. They are asked for in the version that they are stored in,
// where it is served: to convert them may need what was just removed.
func (c *Client) HasObjects(ctx context.Context, crd *unstructured.Unstructured) (bool, error) {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	served := ""
	for _, v := range versions {
		version, _ := v.(map[string]any)
		name, _ := version["name"].(string)
		if version["served"] == true && (served == "" || version["storage"] == true) {
			served = name
		}
	}
	if served == "" {
		return false, nil
	}
	kind := schema.GroupVersionResource{Group: group, Version: served, Resource: plural}
	list, err := c.dynamic.Resource(kind).List(ctx, metav1.ListOptions{Limit: 1})
	if apierrors.IsNotFound(err) {
		return false, nil // not served any more
	}
	if err != nil {
		return false, fmt.Errorf("list the objects of CRD %s: %w", crd.GetName(), err)
	}
	return len(list.Items) > 0, nil
}
