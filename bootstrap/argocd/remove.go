package argocd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// cascade is the finalizer by which Argo CD deletes what an Application applied before the Application is gone. A variant of it
// says how, after a slash.
const cascade = "resources-finalizer.argocd.argoproj.io"

// Remove takes the Application away, waits until its controller has deleted everything that it applied, and then takes
// the project and the Secret away. It must run while the controllers do. What Argo CD applied in other clusters stays, and is
// named.
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
			return outcome, fault.Wrap(err, fault.Failed, "what it applied was not deleted").On("%s", ref).
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
// the finalizer first, without which Argo CD would leave its objects behind; one whose objects are in another cluster loses it.
func (a *ArgoCD) removeApplied(ctx context.Context, c *kube.Client, w *kube.Watcher, p plan.Progress) error {
	var all []kube.Ref
	err := reconciler.Visit(ctx, c, a.applicationRef(), func(ref kube.Ref, obj *unstructured.Unstructured) (leads []kube.Ref, err error) {
		if obj == nil {
			return nil, nil
		}
		if setOf(obj) != "" {
			all = append(all, ref) // it goes with its ApplicationSet, which decides what becomes of its objects
		}
		switch {
		case isRemote(obj):
			p.Warn(fmt.Sprintf("what %s applied stays: it is applied in another cluster", ref))
			return nil, setCascade(ctx, c, obj, false)
		case setOf(obj) != "" && !cascades(obj):
			p.Warn(fmt.Sprintf("what %s applied stays: its ApplicationSet preserves it", ref))
			return nil, nil
		}
		plain, inner, err := going(ctx, c, obj)
		if err != nil {
			return nil, err
		}
		if err := setCascade(ctx, c, obj, true); err != nil { // from here on nothing puts back what is changed in it
			return nil, err
		}
		generated, err := freeze(ctx, c, plain)
		all = append(append(all, plain...), inner...)
		return append(inner, generated...), err
	})
	if err != nil {
		return err
	}
	if err := c.Delete(ctx, []kube.Ref{a.applicationRef()}, p); err != nil {
		return err
	}
	return w.Gone(ctx, all, p)
}

// going is what an Application applied, as resources gives it, without what is gone and what stays.
func going(ctx context.Context, c *kube.Client, obj *unstructured.Unstructured) (plain, inner []kube.Ref, err error) {
	plain, inner = resources(obj)
	for _, refs := range []*[]kube.Ref{&plain, &inner} {
		*refs = slices.DeleteFunc(*refs, func(ref kube.Ref) bool {
			if err != nil {
				return false
			}
			var live *unstructured.Unstructured
			live, err = c.Get(ctx, ref)
			return err == nil && (live == nil || kept(live))
		})
	}
	return plain, inner, err
}

// freeze keeps the ApplicationSets among some objects from changing the Applications that they made, and gives these.
func freeze(ctx context.Context, c *kube.Client, objs []kube.Ref) ([]kube.Ref, error) {
	for _, ref := range setsOf(objs) {
		set, err := c.Get(ctx, ref)
		if err != nil {
			return nil, err
		}
		if set == nil {
			continue
		}
		frozen := map[string]string{"": "create-delete", "sync": "create-delete", "create-update": "create-only"}
		policy, _, _ := unstructured.NestedString(set.Object, "spec", "syncPolicy", "applicationsSync")
		if frozen[policy] == "" {
			continue
		}
		patch := fmt.Appendf(nil, `{"spec":{"syncPolicy":{"applicationsSync":%q}}}`, frozen[policy])
		if err := c.MergePatch(ctx, ref, patch); err != nil {
			return nil, err
		}
	}
	return made(ctx, c, objs)
}

// cascades says whether what an Application applied is deleted with it.
func cascades(obj *unstructured.Unstructured) bool {
	return slices.ContainsFunc(obj.GetFinalizers(), isCascade)
}

func isCascade(finalizer string) bool {
	name, _, _ := strings.Cut(finalizer, "/")
	return name == cascade
}

// setCascade decides whether what an Application applied is deleted with it. One that deletes applies nothing any more: it would
// put back what is changed in the Applications that it applied.
func setCascade(ctx context.Context, c *kube.Client, obj *unstructured.Unstructured, on bool) error {
	finalizers, change := obj.GetFinalizers(), map[string]any{}
	if on {
		change["spec"] = map[string]any{"syncPolicy": map[string]any{"automated": nil}}
		if !cascades(obj) {
			finalizers = append(finalizers, cascade)
		}
	} else {
		finalizers = slices.DeleteFunc(finalizers, isCascade)
	}
	change["metadata"] = map[string]any{"finalizers": finalizers}
	patch, err := json.Marshal(change)
	if err != nil {
		return err
	}
	return c.MergePatch(ctx, kube.RefOf(obj), patch)
}
