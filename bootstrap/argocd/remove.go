package argocd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
)

// cascade is the finalizer by which Argo CD deletes what an Application applied before the Application is gone. A variant of it
// says how, after a slash.
const cascade = "resources-finalizer.argocd.argoproj.io"

// Remove takes the Application away, waits until its controller has deleted everything that it applied, and then takes
// the project and the Secret away. It must run while the controllers do. The namespaces and CRDs that were there before stay, and
// are named, as do all other CRDs, which Argo CD deletes with no Application, and what it applied in other clusters.
func (a *ArgoCD) Remove(ctx context.Context, c *kube.Client, w *kube.Watcher, before reconciler.Before, p plan.Progress) (plan.Outcome, error) {
	ref := a.applicationRef()
	obj, err := c.Get(ctx, ref)
	if err != nil {
		return "", err
	}
	outcome := plan.Unchanged
	if obj != nil {
		if err := reconciler.RefuseForeign(obj, namespaceField); err != nil {
			return "", err
		}
		outcome = plan.Changed
		if err := a.removeApplied(ctx, c, w, before, p); err != nil {
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
func (a *ArgoCD) removeApplied(ctx context.Context, c *kube.Client, w *kube.Watcher, before reconciler.Before, p plan.Progress) error {
	all := parts{had: before}
	err := reconciler.Visit(ctx, c, a.applicationRef(), func(ref kube.Ref, obj *unstructured.Unstructured) (leads []kube.Ref, err error) {
		if obj == nil {
			return nil, nil
		}
		if setOf(obj) != "" {
			all.goes = append(all.goes, ref) // it goes with its ApplicationSet, which decides what becomes of its objects
		}
		switch {
		case isRemote(obj):
			p.Warn(fmt.Sprintf("what %s applied stays: it is applied in another cluster", ref))
			return nil, setCascade(ctx, c, obj, false)
		case setOf(obj) != "" && !cascades(obj):
			p.Warn(fmt.Sprintf("what %s applied stays: its ApplicationSet preserves it", ref))
			return nil, nil
		}
		if err := setCascade(ctx, c, obj, true); err != nil { // from here on nothing puts back what is changed in it
			return nil, err
		}
		return all.split(ctx, c, obj)
	})
	if err != nil {
		return err
	}
	if err := all.settle(ctx, p); err != nil {
		return err
	}
	if err := c.Delete(ctx, []kube.Ref{a.applicationRef()}, p); err != nil {
		return err
	}
	if err := w.Gone(ctx, all.goes, p); err != nil {
		return err
	}
	return all.release(ctx, c, p)
}

// parts are what Applications have applied, by what becomes of it when these are deleted.
type parts struct {
	had    reconciler.Before
	goes   []kube.Ref
	before []kube.Ref                   // it was there before
	crds   []kube.Ref                   // others that Argo CD leaves
	marked []*unstructured.Unstructured // what of before Argo CD leaves because it is told to here, as it was
}

// split sorts what an Application has applied, and gives the Applications to which it leads.
func (s *parts) split(ctx context.Context, c *kube.Client, obj *unstructured.Unstructured) (leads []kube.Ref, err error) {
	plain, inner := resources(obj)
	var goes []kube.Ref
	for _, ref := range slices.Concat(plain, inner) {
		live, err := c.Get(ctx, ref)
		switch {
		case err != nil:
			return nil, err
		case live == nil:
			continue
		case s.had.Had(ref) && reconciler.Stands(live):
			if err := s.keep(ctx, c, live); err != nil {
				return nil, err
			}
			continue
		case kept(live):
			continue
		case kube.IsCRD(ref):
			s.crds = append(s.crds, ref)
			continue
		}
		goes = append(goes, ref)
		if slices.Contains(inner, ref) {
			leads = append(leads, ref)
		}
	}
	s.goes = append(s.goes, goes...)
	generated, err := freeze(ctx, c, goes)
	return append(leads, generated...), err
}

// optionsKey is the annotation by which an object says what becomes of it when Argo CD syncs, and when its Application goes.
const optionsKey = "argocd.argoproj.io/sync-options"

// keep has Argo CD leave an object that was there before, though an Application has applied it.
func (s *parts) keep(ctx context.Context, c *kube.Client, live *unstructured.Unstructured) error {
	ref := kube.RefOf(live)
	s.before = append(s.before, ref)
	if kept(live) || kube.IsCRD(ref) {
		return nil
	}
	s.marked = append(s.marked, live)
	options := strings.TrimPrefix(live.GetAnnotations()[optionsKey]+",Delete=false", ",")
	return reconciler.Annotate(ctx, c, ref, map[string]string{optionsKey: options})
}

// settleTime is longer than Argo CD takes to see what has changed in an object: it collects what its watches tell for a tenth of a second.
const settleTime = 3 * time.Second

// settle waits until Argo CD knows what keep has written: it decides by what it has seen of an object, and does not read it again.
func (s *parts) settle(ctx context.Context, p plan.Progress) error {
	if len(s.marked) == 0 {
		return nil
	}
	p.Note("Argo CD is to see what was there before")
	return wait.Sleep(ctx, settleTime)
}

// release takes the marks off what was there before, and names what stays.
func (s *parts) release(ctx context.Context, c *kube.Client, p plan.Progress) error {
	for _, obj := range s.marked {
		err := reconciler.Annotate(ctx, c, kube.RefOf(obj), map[string]string{optionsKey: obj.GetAnnotations()[optionsKey]})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return fault.Join(reconciler.TellKept(ctx, c, "it was there before", s.before, p),
		reconciler.TellKept(ctx, c, "Argo CD deletes no CRDs", s.crds, p))
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
