package kube

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Delete deletes objects and what they own, and waits until they are gone. Objects that do not exist,
// or whose kind is not served, are gone already. While a finalizer holds one, p is told its name.
func (c *Client) Delete(ctx context.Context, refs []Ref, p plan.Progress) error {
	background := metav1.DeletePropagationBackground
	err := each(ctx, refs, func(ctx context.Context, _ int, ref Ref) error {
		err := persist(ctx, "delete "+ref.String(), p, func(ctx context.Context) error {
			resource, err := c.Resource(ref)
			if err != nil {
				return err
			}
			return resource.Delete(ctx, ref.Name, metav1.DeleteOptions{PropagationPolicy: &background})
		})
		if err == nil || apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
			return nil
		}
		return fault.Wrap(err, fault.Failed, "delete").On("%s", ref)
	})
	if err != nil {
		return err
	}
	w := c.Watch(ctx)
	defer w.Close()
	return w.Gone(ctx, refs, p)
}
