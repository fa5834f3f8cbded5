package flux

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// Remove takes the Kustomization away, waits until its controller has deleted everything that it
// applied, and then takes the GitRepository away. It must run while the controllers do. Suspended
// Kustomizations are resumed for it: Flux would leave their objects behind. What Flux keeps on purpose stays, and is named,
// as do the namespaces and CRDs that were there before, and what it has applied in other clusters. One of the two that somebody else
// made is refused, before anything is deleted.
func (f *Flux) Remove(ctx context.Context, c *kube.Client, w *kube.Watcher, before reconciler.Before, p plan.Progress) (plan.Outcome, error) {
	ref := f.kustomizationRef()
	obj, err := c.Get(ctx, ref)
	if err != nil {
		return "", err
	}
	repository, err := c.Get(ctx, f.repositoryRef())
	if err != nil {
		return "", err
	}
	if err := fault.Join(reconciler.RefuseForeign(obj, nameField), reconciler.RefuseForeign(repository, nameField)); err != nil {
		return "", err
	}
	outcome := plan.Unchanged
	if obj != nil {
		outcome = plan.Changed
	}
	if err := f.removeApplied(ctx, c, w, before, obj, p); err != nil {
		return outcome, fault.Wrap(err, fault.Failed, "what it applied was not deleted").On("%s", ref).
			WithHint("its controller must run to delete what it applied: kubectl -n %s get pods", f.spec.Namespace)
	}
	if repository == nil {
		return outcome, nil
	}
	return plan.Changed, c.Delete(ctx, []kube.Ref{f.repositoryRef()}, p)
}

// Named gives those in the reconciler's namespace of which there is a Kustomization or a GitRepository that rekindle made, by whatever name
// the documents had for them then.
func (f *Flux) Named(ctx context.Context, c *kube.Client) ([]*Flux, error) {
	var all []*Flux
	known := map[string]bool{}
	for _, resource := range []schema.GroupVersionResource{
		{Group: kustomizeGroup, Version: version, Resource: "kustomizations"}, {Group: sourceGroup, Version: version, Resource: "gitrepositories"},
	} {
		list, err := c.Dynamic().Resource(resource).Namespace(f.spec.Namespace).
			List(ctx, metav1.ListOptions{LabelSelector: providers.LabelOwner + "=" + providers.Owner})
		if apierrors.IsNotFound(err) {
			continue // not served, or not any more
		}
		if err != nil {
			return nil, fault.Wrap(err, fault.Failed, "list the %s of rekindle", resource.Resource).On("namespace %s", f.spec.Namespace)
		}
		for i := range list.Items {
			if name := list.Items[i].GetName(); !known[name] {
				known[name] = true
				one := *f
				one.spec.Name = name
				all = append(all, &one)
			}
		}
	}
	return all, nil
}

// removeApplied deletes the Kustomization and waits for it and for everything it applied, through
// Kustomizations in Kustomizations, whose own controllers delete what those applied. A run that was killed may have left only
// those, on their way.
func (f *Flux) removeApplied(
	ctx context.Context, c *kube.Client, w *kube.Watcher, before reconciler.Before, root *unstructured.Unstructured, p plan.Progress,
) error {
	roots, err := f.going(ctx, c)
	if err != nil {
		return err
	}
	if root != nil {
		roots = append(roots, f.kustomizationRef())
	}
	goes, err := releasesGoing(ctx, c)
	if err != nil {
		return err
	}
	all := parts{goes: goes}
	for _, one := range roots {
		all.goes = append(all.goes, one)
		if err := all.split(ctx, c, before, one, p); err != nil {
			return err
		}
	}
	if root != nil {
		if err := c.Delete(ctx, []kube.Ref{f.kustomizationRef()}, p); err != nil {
			return err
		}
	}
	if err := w.Gone(ctx, all.goes, p); err != nil {
		return err
	}
	if err := all.release(ctx, c); err != nil {
		return err
	}
	return fault.Join(reconciler.TellKept(ctx, c, "Flux is configured to keep it", all.stays, p),
		reconciler.TellKept(ctx, c, "it was there before", all.before, p))
}

// going are the Kustomizations that the deleted one applied, or that follow our GitRepository, and that are being deleted.
func (f *Flux) going(ctx context.Context, c *kube.Client) ([]kube.Ref, error) {
	ours, err := f.sources(ctx, c)
	if err != nil {
		return nil, err
	}
	deleted, err := beingDeleted(ctx, c, schema.GroupVersionResource{Group: kustomizeGroup, Version: version, Resource: "kustomizations"})
	if err != nil {
		return nil, err
	}
	var refs []kube.Ref
	for _, obj := range deleted {
		if ref := kube.RefOf(obj); ref != f.kustomizationRef() && (isOwned(obj, f.kustomizationRef()) || ours.have(obj)) {
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

// releasesGoing are all HelmReleases that are being deleted: what applied one of ours is gone in a moment, while an uninstallation
// takes its time, and whoever made it, only the controller that goes next can finish it.
func releasesGoing(ctx context.Context, c *kube.Client) ([]kube.Ref, error) {
	deleted, err := beingDeleted(ctx, c, schema.GroupVersionResource{Group: helmGroup, Version: "v2", Resource: "helmreleases"})
	return kube.RefsOf(deleted), err
}

// beingDeleted lists the objects of a kind that are; none when the kind is not served, or not any more.
func beingDeleted(ctx context.Context, c *kube.Client, resource schema.GroupVersionResource) ([]*unstructured.Unstructured, error) {
	list, err := c.Dynamic().Resource(resource).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var deleted []*unstructured.Unstructured
	for i := range list.Items {
		if obj := &list.Items[i]; obj.GetDeletionTimestamp() != nil {
			deleted = append(deleted, obj)
		}
	}
	return deleted, nil
}

// parts are what Kustomizations have applied, by what becomes of it when these are deleted.
type parts struct {
	goes   []kube.Ref
	stays  []kube.Ref // Flux keeps it
	before []kube.Ref // it was there before
	marked []kube.Ref // what of that Flux keeps because rekindle has told it to
}

// split sorts what a Kustomization and those in it have applied, and resumes those that are suspended. Objects that apply to another
// cluster are made to leave what they have there.
func (a *parts) split(ctx context.Context, c *kube.Client, before reconciler.Before, root kube.Ref, p plan.Progress) error {
	return reconciler.Visit(ctx, c, root, func(ref kube.Ref, obj *unstructured.Unstructured) (leads []kube.Ref, err error) {
		if obj == nil {
			return nil, nil
		}
		if isRemote(obj) {
			p.Warn(fmt.Sprintf("what %s applied stays: it is applied in another cluster", ref))
			return nil, setSuspended(ctx, c, obj, true)
		}
		if orphans(obj) {
			a.stays = append(a.stays, inventory(obj)...)
			return nil, nil
		}
		if err := setSuspended(ctx, c, obj, false); err != nil {
			return nil, err
		}
		for _, applied := range inventory(obj) {
			live, err := c.Get(ctx, applied)
			switch {
			case err != nil:
				return nil, err
			case live == nil:
			case before.Had(applied) && reconciler.Stands(live):
				if err := a.keep(ctx, c, live, ref); err != nil {
					return nil, err
				}
			case keeps(live, ref):
				a.stays = append(a.stays, applied)
			default:
				if applied.Group == helmGroup && isSuspended(live) {
					p.Warn(fmt.Sprintf("what %s installed stays: Flux uninstalls nothing of what is suspended", applied))
				}
				a.goes = append(a.goes, applied)
				if applied.GroupKind() == root.GroupKind() || isRemote(live) {
					leads = append(leads, applied)
				}
			}
		}
		return leads, nil
	})
}

// Keeping is how Flux is told to leave an object, by an annotation that may be a label, too.
func (f *Flux) Keeping() reconciler.Keeping { return keeping() }

func keeping() reconciler.Keeping {
	return reconciler.Keeping{
		Annotation: kustomizeGroup + "/prune", Value: "disabled", Labels: []string{kustomizeGroup + "/name", kustomizeGroup + "/namespace"},
	}
}

// keep has Flux leave an object that was there before, though a Kustomization has applied it.
func (a *parts) keep(ctx context.Context, c *kube.Client, live *unstructured.Unstructured, by kube.Ref) error {
	ref := kube.RefOf(live)
	a.before = append(a.before, ref)
	kept := isOwned(live, by) && keeps(live, by)
	if kept && !keeping().IsNoted(live) {
		return nil // Git says so
	}
	a.marked = append(a.marked, ref)
	if kept {
		return nil // up said so, or a run that was ended
	}
	return keeping().Keep(ctx, c, live)
}

// release takes the marks off what was there before: whoever has Flux apply it later has it pruned, or not, as Git says then.
func (a *parts) release(ctx context.Context, c *kube.Client) error {
	for _, ref := range a.marked {
		live, err := c.Get(ctx, ref)
		if err == nil && live != nil {
			err = reconciler.LetGo(ctx, c, live, keeping())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// setSuspended decides what becomes of what an object of Flux has applied when it is deleted: one that is suspended deletes
// nothing.
func setSuspended(ctx context.Context, c *kube.Client, obj *unstructured.Unstructured, suspend bool) error {
	if suspended, _, _ := unstructured.NestedBool(obj.Object, "spec", "suspend"); suspended == suspend {
		return nil
	}
	err := c.MergePatch(ctx, kube.RefOf(obj), fmt.Appendf(nil, `{"spec":{"suspend":%t}}`, suspend))
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// orphans says whether a Kustomization leaves behind what it applied.
func orphans(obj *unstructured.Unstructured) bool {
	switch policy, _, _ := unstructured.NestedString(obj.Object, "spec", "deletionPolicy"); policy {
	case "", "MirrorPrune":
		prune, _, _ := unstructured.NestedBool(obj.Object, "spec", "prune")
		return !prune
	case "Orphan":
		return true
	}
	return false
}

// keeps says whether Flux leaves an object that a Kustomization applied: it says so itself, or is not marked as applied by it.
func keeps(obj *unstructured.Unstructured, by kube.Ref) bool {
	labels, annotations := obj.GetLabels(), obj.GetAnnotations()
	for key, value := range map[string]string{"prune": "disabled", "reconcile": "disabled", "ssa": "Ignore"} {
		key = kustomizeGroup + "/" + key
		if strings.EqualFold(labels[key], value) || strings.EqualFold(annotations[key], value) {
			return true
		}
	}
	return !isOwned(obj, by)
}

// isOwned says whether an object has the marks of a Kustomization that applied it.
func isOwned(obj *unstructured.Unstructured, by kube.Ref) bool {
	labels := obj.GetLabels()
	return labels[kustomizeGroup+"/name"] == by.Name && labels[kustomizeGroup+"/namespace"] == by.Namespace
}
