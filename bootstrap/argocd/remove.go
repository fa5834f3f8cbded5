package argocd

import (
	"context"
	"encoding/json"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// cascade is the finalizer by which Argo CD deletes what an Application applied before the Application is gone.
const cascade = "resources-finalizer.argocd.argoproj.io"

// Remove takes the Application away, waits until its controller has deleted everything that it applied, and then takes
// the project and the Secret away. It must run while the controllers do.
func (a *ArgoCD) Remove(ctx context.Context, c *kube.Client, w *kube.Watcher, p plan.Progress) (plan.Outcome, error) {
	ref := a.applicationRef()
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
		if err := a.removeApplied(ctx, c, w, p); err != nil {
			return outcome, fault.Wrap(err, fault.Failed, "what it applied is not gone").On("%s", ref).
				WithHint("its controller must run to delete what it applied: kubectl -n %s get pods", a.spec.Namespace)
		}
	}
	var rest []kube.Ref
	for _, ref := range []kube.Ref{a.ref(kindProject), a.repositoryRef()} {
		obj, err := c.Get(ctx, ref)
		if err != nil {
			return outcome, err
		}
		if obj != nil && obj.GetLabels()[providers.LabelOwner] == providers.Owner {
			rest = append(rest, ref)
		}
	}
	if len(rest) == 0 {
		return outcome, nil
	}
	return plan.Changed, c.Delete(ctx, rest, p)
}

// removeApplied deletes the Application and waits for it and for everything that it and those in it applied. Each gets
// the finalizer first, without which Argo CD would leave its objects behind.
func (a *ArgoCD) removeApplied(ctx context.Context, c *kube.Client, w *kube.Watcher, p plan.Progress) error {
	var all []kube.Ref
	err := a.visit(ctx, c, func(ref kube.Ref, obj *unstructured.Unstructured) error {
		if obj == nil {
			return nil
		}
		plain, inner := resources(obj)
		for _, ref := range append(plain, inner...) {
			live, err := c.Get(ctx, ref)
			if err != nil {
				return err
			}
			if live != nil && !kept(live) {
				all = append(all, ref)
			}
		}
		if slices.Contains(obj.GetFinalizers(), cascade) {
			return nil
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": append(obj.GetFinalizers(), cascade)}})
		if err != nil {
			return err
		}
		return c.MergePatch(ctx, ref, patch)
	})
	if err != nil {
		return err
	}
	if err := c.Delete(ctx, []kube.Ref{a.applicationRef()}, p); err != nil {
		return err
	}
	return w.Gone(ctx, all, p)
}
