package flux

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// Remove takes the Kustomization away, waits until its controller has deleted everything that it
// applied, and then takes the GitRepository away. It must run while the controllers do. A suspended
// Kustomization is resumed for it: Flux would leave its objects behind.
func (f *Flux) Remove(ctx context.Context, c *kube.Client, w *kube.Watcher, p plan.Progress) (plan.Outcome, error) {
	ref := f.kustomizationRef()
	obj, err := c.Get(ctx, ref)
	if err != nil {
		return "", err
	}
	outcome := plan.Unchanged
	if obj != nil {
		if obj.GetLabels()[providers.LabelOwner] != providers.Owner {
			return "", fault.New(fault.Refused, "was not made by rekindle").On("%s", ref).WithHint("remove it yourself")
		}
		outcome = plan.Changed
		if err := f.removeApplied(ctx, c, w, ref, p); err != nil {
			return outcome, err
		}
	}
	repository, err := c.Get(ctx, f.repositoryRef())
	if err != nil || repository == nil {
		return outcome, err
	}
	return plan.Changed, c.Delete(ctx, []kube.Ref{f.repositoryRef()}, p)
}

// removeApplied deletes the Kustomization and waits for it and for everything it applied, through
// Kustomizations in Kustomizations, whose own controllers delete what those applied.
func (f *Flux) removeApplied(ctx context.Context, c *kube.Client, w *kube.Watcher, ref kube.Ref, p plan.Progress) error {
	all, err := f.allApplied(ctx, c)
	if err != nil {
		return err
	}
	if err := c.MergePatch(ctx, ref, []byte(`{"spec":{"suspend":false}}`)); err != nil {
		return err
	}
	err = c.Delete(ctx, []kube.Ref{ref}, p)
	if err == nil {
		err = w.Gone(ctx, all, p)
	}
	if err != nil {
		return fault.Wrap(err, fault.Failed, "what it applied is not gone").On("%s", ref).
			WithHint("its controller must run to delete what it applied: kubectl -n %s get pods", f.spec.Namespace)
	}
	return nil
}

// allApplied lists what the Kustomization and those in it have applied.
func (f *Flux) allApplied(ctx context.Context, c *kube.Client) (all []kube.Ref, err error) {
	err = f.visit(ctx, c, func(_ kube.Ref, obj *unstructured.Unstructured) error {
		if obj != nil {
			all = append(all, inventory(obj)...)
		}
		return nil
	})
	return all, err
}
