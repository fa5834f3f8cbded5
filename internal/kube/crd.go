package kube

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Manager is the field manager of what rekindle applies by itself.
const Manager = "rekindle"

// EstablishCRDs applies CRDs, in parallel, and waits until the server serves their kinds. One that
// exists is written only when ours differs; fields that another manager owns are not taken from it:
// that is refused with its name.
func (c *Client) EstablishCRDs(ctx context.Context, crds []*unstructured.Unstructured, p plan.Progress) ([]Change, error) {
	for _, crd := range crds {
		if ref := RefOf(crd); ref.GroupKind() != crdKind {
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
