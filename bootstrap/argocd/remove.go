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
// the projects and the Secret away. It must run while the controllers do. The namespaces and CRDs that were there before stay, and
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
	rest, err := a.unmark(ctx, c, p) // the projects of the path
	if err != nil {
		return outcome, err
	}
	for _, ref := range []kube.Ref{a.ref(kindProject), a.repositoryRef()} {
		had, err := c.Get(ctx, ref)
		if err != nil {
			return outcome, err
		}
		if had != nil && had.GetLabels()[providers.LabelOwner] == providers.Owner {
			rest = append(rest, ref)
		}
	}
	if obj == nil && len(rest) > 0 { // what is made before it is there
		p.Warn(fmt.Sprintf("%s is gone: unless a run of down that was ended has removed it, what it had applied stays", ref))
	}
	if len(rest) == 0 {
		return outcome, nil
	}
	return plan.Changed, c.Delete(ctx, rest, p)
}

// removeApplied deletes the Application and waits for it and for everything that it and those in it applied. Each gets
// the finalizer first, without which Argo CD would leave its objects behind; one whose objects are in another cluster loses it.
func (a *ArgoCD) removeApplied(ctx context.Context, c *kube.Client, w *kube.Watcher, before reconciler.Before, p plan.Progress) error {
	tracks, err := a.tracking(ctx, c)
	if err != nil {
		return err
	}
	all := parts{had: before, tracks: tracks}
	err = reconciler.Visit(ctx, c, a.applicationRef(), func(ref kube.Ref, obj *unstructured.Unstructured) (leads []kube.Ref, err error) {
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
		if err := halt(ctx, c, ref, idle, p); err != nil { // as long as one goes on, Argo CD deletes nothing
			return nil, err
		}
		return all.split(ctx, c, obj)
	})
	if err != nil {
		return err
	}
	if err := all.settle(ctx, c, p); err != nil {
		return err
	}
	all.warnOfAsking(p)
	if err := c.Delete(ctx, []kube.Ref{a.applicationRef()}, p); err != nil {
		return err
	}
	if err := w.Gone(ctx, all.goes, p); err != nil {
		return err
	}
	return fault.Join(reconciler.TellKept(ctx, c, "it was there before", all.before, p),
		reconciler.TellKept(ctx, c, "Argo CD deletes no CRDs", all.crds, p),
		reconciler.TellKept(ctx, c, "Argo CD is told to keep it", all.kept, p),
		reconciler.TellKept(ctx, c, "somebody else has applied it", all.others, p))
}

// parts are what Applications have applied, by what becomes of it when these are deleted.
type parts struct {
	had    reconciler.Before
	tracks tracking
	goes   []kube.Ref
	before []kube.Ref // it was there before
	crds   []kube.Ref // others that Argo CD leaves
	kept   []kube.Ref // Argo CD is told to leave it, in Git
	others []kube.Ref // the Application that has it has not applied it
	marked []telling  // Argo CD is told to leave it here, and is to see that before it deletes anything
	asks   []telling  // Git has Argo CD ask before it deletes it
}

// telling is about an object of an Application.
type telling struct{ app, object kube.Ref }

// split sorts what an Application has applied, and gives the Applications to which it leads.
func (s *parts) split(ctx context.Context, c *kube.Client, obj *unstructured.Unstructured) (leads []kube.Ref, err error) {
	var goes []kube.Ref
	for _, fields := range entries(obj, "status", "resources") {
		ref := refOf(fields)
		if fields["hook"] == true {
			continue
		}
		live, err := c.Get(ctx, ref)
		switch {
		case err != nil:
			return nil, err
		case live == nil:
			continue
		case s.had.Had(ref) && reconciler.Stands(live):
			s.before = append(s.before, ref)
			err = s.keep(ctx, c, obj, live)
		case kube.IsCRD(ref):
			s.crds = append(s.crds, ref)
		case !s.tracks.has(obj, live): // it is somebody else's, or of another Application, by which it goes
			s.others = append(s.others, ref)
		case kept(obj, live) && !isMarked(live):
			s.kept = append(s.kept, ref)
		case s.tracks.isProject(ref) && reconciler.Stands(live): // of an Application without its project Argo CD deletes nothing
			err = s.keep(ctx, c, obj, live)
		default:
			goes = append(goes, ref)
			if fields["requiresDeletionConfirmation"] == true {
				s.asks = append(s.asks, telling{kube.RefOf(obj), ref})
			}
		}
		if err != nil {
			return nil, err
		}
	}
	s.goes = append(s.goes, goes...)
	leads, err = freeze(ctx, c, goes)
	for _, ref := range goes {
		if isApplication(ref) {
			leads = append(leads, ref)
		}
	}
	return leads, err
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
	finalizers, metadata := obj.GetFinalizers(), map[string]any{}
	change := map[string]any{"metadata": metadata}
	if on {
		change["spec"] = map[string]any{"syncPolicy": map[string]any{"automated": nil}}
		metadata["annotations"] = map[string]any{skipAnnotation: nil} // with it, the finalizer would wait for ever
		if !cascades(obj) && reconciler.Stands(obj) {                 // one that is being deleted has done its part, and takes no more
			finalizers = append(finalizers, cascade)
		}
	} else {
		finalizers = slices.DeleteFunc(finalizers, isCascade)
	}
	metadata["finalizers"] = finalizers
	patch, err := json.Marshal(change)
	if err != nil {
		return err
	}
	return c.MergePatch(ctx, kube.RefOf(obj), patch)
}
