package helm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"helm.sh/helm/v3/pkg/action"
	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Remove uninstalls the release and waits until its objects are gone, also those that only a revision before the last one has,
// and what its hooks have left. One that does not exist is unchanged, one that is not ours is refused. What asks to be kept stays.
// So does a CRD of which there are objects, as they would go with it, and what is not surely the release's own: p is told of it.
//
// Helm forgets it only when they are gone: a run that was killed while finalizers held them waits for them the next time, before
// what they need is removed as well.
func Remove(ctx context.Context, c *kube.Client, w *kube.Watcher, name, namespace string, timeout time.Duration, p plan.Progress) (plan.Outcome, error) {
	return remove(ctx, c, w, Release{Name: name, Namespace: namespace, Timeout: timeout}, true, p)
}

// RemoveAllButCRDs is Remove for those who decide themselves about the CRDs of a cluster: all stay that are in the chart.
func RemoveAllButCRDs(ctx context.Context, c *kube.Client, w *kube.Watcher, name, namespace string, timeout time.Duration, p plan.Progress) (plan.Outcome, error) {
	return remove(ctx, c, w, Release{Name: name, Namespace: namespace, Timeout: timeout}, false, p)
}

func remove(ctx context.Context, c *kube.Client, w *kube.Watcher, r Release, crds bool, p plan.Progress) (plan.Outcome, error) {
	cfg, guard, err := configure(ctx, c, w, r, p)
	if err != nil {
		return "", err
	}
	last, err := lastOf(cfg, r.Name, r.Namespace)
	switch {
	case err != nil:
		return "", err
	case last == nil:
		return plan.Unchanged, nil
	case last.Labels[marks.LabelOwner] != marks.Owner:
		return "", fault.New(fault.Refused, "was not made by rekindle").On("release %s/%s", r.Namespace, r.Name)
	}
	guard.removes = true
	made, err := madeBy(cfg, c, r.Name)
	if err != nil {
		return "", err
	}
	uninstall := action.NewUninstall(cfg)
	uninstall.Timeout, uninstall.IgnoreNotFound = r.Timeout, true
	if last.Info.Status != release.StatusUninstalled {
		uninstall.KeepHistory = true
		if _, err := uninstall.Run(r.Name); err != nil {
			return "", notUninstalled(r.Name, err, guard.deletes)
		}
	}
	if err := guard.clear(made, crds); err != nil {
		return "", err
	}
	uninstall.KeepHistory = false
	if _, err := uninstall.Run(r.Name); err != nil {
		return "", notUninstalled(r.Name, err, nil)
	}
	return plan.Changed, nil
}

// notUninstalled is the fault of an uninstallation, with why objects could not be deleted: Helm says only that they were not.
func notUninstalled(name string, err error, deletes []error) error {
	if len(deletes) > 0 {
		err = fault.Join(deletes...)
	}
	return couldNot("uninstall it", name, err)
}

// made is what the revisions of a release may have in the cluster, in their words, the newest first, and each object once: what
// the newest revision says that has it counts.
type made struct {
	last    []*unstructured.Unstructured // of the last revision, which Helm uninstalls
	earlier []*unstructured.Unstructured // that only those before have: Helm leaves them, as after an upgrade that failed
	hooks   []*unstructured.Unstructured // which Helm leaves as well
}

// madeBy reads it from the whole history: a removal that was killed before its end may be among it.
func madeBy(cfg *action.Configuration, c *kube.Client, name string) (m made, err error) {
	history, err := cfg.Releases.History(name)
	if err != nil {
		return m, fmt.Errorf("read the history of release %s: %w", name, err)
	}
	slices.SortFunc(history, func(a, b *release.Release) int { return b.Version - a.Version })
	objects, hooks := map[kube.Ref]bool{}, map[kube.Ref]bool{}
	for i, revision := range history {
		objs, err := objectsOf(c, revision)
		if err == nil {
			objs, err = asServed(c, objs, revision.Namespace)
		}
		if err != nil {
			return m, err
		}
		if i == 0 {
			m.last = unseen(objs, objects)
		} else {
			m.earlier = append(m.earlier, unseen(objs, objects)...)
		}
		for _, hook := range revision.Hooks {
			objs, err := hooked(c, revision, hook)
			if err != nil {
				return m, err
			}
			m.hooks = append(m.hooks, unseen(objs, hooks)...)
		}
	}
	return m, nil
}

// unseen are those of the objects that were not seen before, and are now. The version does not tell, which a chart may change.
func unseen(objs []*unstructured.Unstructured, seen map[kube.Ref]bool) (others []*unstructured.Unstructured) {
	for _, obj := range objs {
		if ref := kube.RefOf(obj).Unversioned(); !seen[ref] {
			seen[ref] = true
			others = append(others, obj)
		}
	}
	return others
}

// hooked is what a hook makes, as far as it can be found again: one whose name the server completes cannot.
func hooked(c *kube.Client, rel *release.Release, hook *release.Hook) ([]*unstructured.Unstructured, error) {
	if hook.Name == "" {
		return nil, nil
	}
	objs, err := kube.ParseManifest([]byte(hook.Manifest))
	if err != nil {
		return nil, fmt.Errorf("the hook %s of release %s: %w", hook.Path, rel.Name, err)
	}
	return asServed(c, objs, rel.Namespace)
}

// clear deletes what an uninstallation was to delete and waits until it is gone, and then what that leaves. CRDs come last, when
// the release's own objects of their kinds are gone, or not at all.
func (g *guard) clear(m made, crds bool) error {
	last, err := g.notMoved(slices.DeleteFunc(deletable(m.last), kube.IsCRD))
	if err != nil {
		return err
	}
	if err := g.client.Delete(g.ctx, last, g.progress); err != nil {
		return err
	}
	if err := g.sweep(slices.DeleteFunc(deletable(m.earlier), kube.IsCRD)); err != nil {
		return err
	}
	if err := g.sweepHooks(slices.DeleteFunc(deletable(m.hooks), kube.IsCRD)); err != nil || !crds {
		return err
	}
	return g.sweep(slices.DeleteFunc(deletable(slices.Concat(m.last, m.earlier)), func(ref kube.Ref) bool { return !kube.IsCRD(ref) }))
}

// notMoved leaves out what belongs to another release by now, by Helm's marks: a person has moved it there, as when a release gets
// another name and its objects are to stay.
func (g *guard) notMoved(refs []kube.Ref) ([]kube.Ref, error) {
	lives, err := g.client.Read(g.ctx, refs)
	if err != nil {
		return nil, err
	}
	var own []kube.Ref
	for i, live := range lives {
		if live == nil || live.GetAnnotations()[releaseName] == "" || g.release.owns(live) {
			own = append(own, refs[i])
		}
	}
	return own, nil
}

// deletable leaves out what the chart asks Helm to keep.
func deletable(objs []*unstructured.Unstructured) []kube.Ref {
	var refs []kube.Ref
	for _, obj := range objs {
		if !Keeps(obj) {
			refs = append(refs, kube.RefOf(obj))
		}
	}
	return refs
}

// Keeps says whether an object is not to be deleted with its release. Helm takes "Keep" for "keep", and deletes nothing either that
// has any other policy.
func Keeps(obj *unstructured.Unstructured) bool {
	_, kept := obj.GetAnnotations()[helmkube.ResourcePolicyAnno]
	return kept
}

// sweep deletes objects, of those that are there, belong to the release and do not ask to be kept. One that is going already
// is left to go. A CRD of which there are objects stays.
func (g *guard) sweep(refs []kube.Ref) error {
	return g.deleteThose(refs, func(obj *unstructured.Unstructured) (bool, error) {
		if !g.release.owns(obj) || Keeps(obj) {
			return false, nil
		}
		if !kube.IsCRD(kube.RefOf(obj)) {
			return true, nil
		}
		if slices.ContainsFunc(g.release.CRDs, func(ref kube.Ref) bool { return ref.Unversioned() == kube.RefOf(obj).Unversioned() }) {
			return false, nil
		}
		used, err := g.client.HasObjects(g.ctx, obj)
		if used {
			g.progress.Warn(fmt.Sprintf("CRD %s stays: there are objects of it", obj.GetName()))
		}
		return !used, err
	})
}

// sweepHooks deletes what hooks have made and not taken away again. Helm leaves that, and does not mark it as the release's: what
// rekindle did not write may be somebody else's, as a test is that a person had Helm run. A claim is often a hook's only so that
// its data outlives the release. These stay, and are named.
func (g *guard) sweepHooks(refs []kube.Ref) error {
	return g.deleteThose(refs, func(obj *unstructured.Unstructured) (bool, error) {
		if obj.GetAnnotations()[release.HookAnnotation] == "" || Keeps(obj) {
			return false, nil
		}
		if !kube.IsWritten(obj) || obj.GetKind() == "PersistentVolumeClaim" {
			g.progress.Warn(fmt.Sprintf("%s stays, which a hook of release %s made: delete it yourself if it is not needed", kube.RefOf(obj), g.release.Name))
			return false, nil
		}
		return true, nil
	})
}

// deleteThose deletes objects, of those that are there and are not going already, that are to go.
func (g *guard) deleteThose(refs []kube.Ref, goes func(*unstructured.Unstructured) (bool, error)) error {
	var left []kube.Ref
	for _, ref := range refs {
		obj, err := g.client.Get(g.ctx, ref)
		if err != nil {
			return fmt.Errorf("read %s: %w", ref, err)
		}
		if obj == nil || obj.GetDeletionTimestamp() != nil {
			continue
		}
		yes, err := goes(obj)
		if err != nil {
			return err
		}
		if yes {
			left = append(left, ref)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return g.client.Delete(g.ctx, left, g.progress)
}

// lastOf reads the last revision of a release, nil where there is none. A record that something has copied here, as a restore
// into another namespace does, is refused: what it names are the objects of the release that it was copied from.
func lastOf(cfg *action.Configuration, name, namespace string) (*release.Release, error) {
	last, err := cfg.Releases.Last(name)
	switch {
	case errors.Is(err, driver.ErrReleaseNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the history of release %s: %w", name, err)
	case last.Namespace != namespace:
		return nil, fault.New(fault.Refused, "its record is a copy of that of release %s/%s", last.Namespace, name).On("release %s/%s", namespace, name).
			WithHint("what copied it, as a restore into another namespace, made no release of it: kubectl -n %s delete secret -l owner=helm,name=%s", namespace, name)
	}
	return last, nil
}
