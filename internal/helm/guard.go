package helm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// guard is Helm's client of a cluster with a context: once that is done it changes nothing more, and
// what Helm waits for (hooks) is awaited by the shared watcher, which says why it takes so long.
type guard struct {
	*helmkube.Client
	ctx      context.Context // Helm's interface has no place for one
	client   *kube.Client
	watcher  *kube.Watcher
	progress plan.Progress
	release  Release
	past     past    // what earlier revisions made
	hook     error   // why a hook did not succeed: Helm gives on its text alone
	deletes  []error // why an uninstallation could not delete objects: Helm gives on nothing of that
	removes  bool    // it uninstalls: all that is built is what was, but hooks
	history  []*release.Release
	builds   int
}

func (g *guard) Create(r helmkube.ResourceList) (*helmkube.Result, error) {
	if err := g.ctx.Err(); err != nil {
		return nil, err
	}
	g.applying(r)
	return g.create(r)
}

// create is Helm's own, kind by kind, for each object alone: the server's answer seldom says which one it is about, and Helm never.
func (g *guard) create(r helmkube.ResourceList) (*helmkube.Result, error) {
	errs := make([]error, len(r))
	for from := 0; from < len(r); {
		to := from + 1
		for to < len(r) && r[to].Mapping.GroupVersionKind.Kind == r[from].Mapping.GroupVersionKind.Kind {
			to++
		}
		var batch sync.WaitGroup
		for i := from; i < to; i++ {
			batch.Go(func() {
				if _, err := g.Client.Create(r[i : i+1]); err != nil {
					errs[i] = named(r[i], flat(err))
				}
			})
		}
		batch.Wait()
		from = to
	}
	return &helmkube.Result{Created: r}, fault.Join(errs...)
}

// named is an error that says of which object it is.
func named(info *resource.Info, err error) error {
	if strings.Contains(err.Error(), strconv.Quote(info.Name)) {
		return err
	}
	return fmt.Errorf("%s: %w", refOf(info), err)
}

// Update makes the objects be as the new revision wants them. Every object is compared with what is live: Helm's own Update
// compares a custom resource only with the last manifest, so that a change by hand would stay for ever.
func (g *guard) Update(original, target helmkube.ResourceList, force bool) (*helmkube.Result, error) {
	return g.UpdateThreeWayMerge(original, target, force)
}

// UpdateThreeWayMerge is Update. Its result is never nil: Helm reads it beside an error, too. What the new revision does not
// want is not Helm's to delete, which asks neither whose it is now nor, of a CRD, what would go with it.
func (g *guard) UpdateThreeWayMerge(original, target helmkube.ResourceList, force bool) (*helmkube.Result, error) {
	if err := g.ctx.Err(); err != nil {
		return &helmkube.Result{}, err
	}
	if err := g.leaveToOthers(target); err != nil {
		return &helmkube.Result{}, err
	}
	for _, revision := range g.past.unfinished {
		if err := g.takeBack(revision, original, target); err != nil {
			return &helmkube.Result{}, err
		}
	}
	g.applying(target)
	result, err := g.Client.UpdateThreeWayMerge(original.Intersect(target), target, force)
	if err != nil {
		return result, err
	}
	return result, g.sweep(refsOf(original.Difference(target)))
}

// applying tells who asked for it what is about to be applied. Hooks are not told, which are awaited here.
func (g *guard) applying(r helmkube.ResourceList) {
	if g.release.Applying == nil {
		return
	}
	var objs []*unstructured.Unstructured
	for _, info := range r {
		if obj, ok := info.Object.(*unstructured.Unstructured); ok && obj.GetAnnotations()[release.HookAnnotation] == "" {
			objs = append(objs, obj)
		}
	}
	g.release.Applying(objs)
}

func (g *guard) Delete(r helmkube.ResourceList) (*helmkube.Result, []error) {
	if err := g.ctx.Err(); err != nil {
		return nil, []error{err}
	}
	return g.Client.Delete(r)
}

// DeleteWithPropagationPolicy is what an uninstallation deletes with. CRDs are not Helm's to delete: all objects of theirs would go
// with them, whoever made them. Nor is what was moved to another release, which Helm does not ask.
func (g *guard) DeleteWithPropagationPolicy(r helmkube.ResourceList, policy metav1.DeletionPropagation) (*helmkube.Result, []error) {
	if err := g.ctx.Err(); err != nil {
		return nil, []error{err}
	}
	own, err := g.notMoved(refsOf(r))
	if err != nil {
		return nil, []error{err}
	}
	r = r.Filter(func(info *resource.Info) bool { return !kube.IsCRD(refOf(info)) && slices.Contains(own, refOf(info)) })
	if len(r) == 0 {
		return &helmkube.Result{}, nil
	}
	result, errs := g.Client.DeleteWithPropagationPolicy(r, policy)
	g.deletes = append(g.deletes, errs...)
	return result, errs
}

// Build is Helm's own, which alone knows why it could not: an uninstallation that has nothing to delete by then says less.
func (g *guard) Build(manifest io.Reader, validate bool) (helmkube.ResourceList, error) {
	raw, err := io.ReadAll(manifest)
	if err != nil {
		return nil, err
	}
	g.builds++
	list, err := g.Client.Build(bytes.NewReader(raw), validate)
	if meta.IsNoMatchError(err) && g.isRecorded(string(raw)) {
		list, err = g.buildRecorded(raw, err)
	}
	if err != nil {
		g.deletes = append(g.deletes, err)
	}
	return list, err
}

// WatchUntilReady waits for hooks: Jobs until they are complete, Pods until they have succeeded.
func (g *guard) WatchUntilReady(r helmkube.ResourceList, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(g.ctx, timeout)
	defer cancel()
	for _, ref := range refsOf(r, "Job", "Pod") { // a hook is one object
		g.progress.Waiting("hook " + ref.String())
		if err := g.watcher.Until(ctx, ref, "done", ended, g.progress); err != nil {
			g.hook = fault.Wrap(err, fault.Failed, "a hook of the chart did not succeed").
				WithHint("the hook's %s is left for you to look at; after the cause is fixed, run the same command again", ref.Kind)
			return g.hook
		}
	}
	return nil
}

// ended tells of a hook whether it has done its work: a Pod that runs has not.
func ended(state *unstructured.Unstructured) kube.Health {
	if state == nil {
		return kube.Health{Message: "does not exist yet"}
	}
	h := kube.EndOf(state)
	if phase, _, _ := unstructured.NestedString(state.Object, "status", "phase"); h.Ready && state.GetKind() == "Pod" && phase != "Succeeded" {
		return kube.Health{Message: "runs and has not ended"}
	}
	return h
}

// WaitForDelete waits until what a hook's policy deleted is gone.
func (g *guard) WaitForDelete(r helmkube.ResourceList, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(g.ctx, timeout)
	defer cancel()
	return g.watcher.Gone(ctx, refsOf(r), g.progress)
}

// refsOf names the objects of these kinds, or all.
func refsOf(list helmkube.ResourceList, kinds ...string) []kube.Ref {
	var refs []kube.Ref
	for _, info := range list {
		if ref := refOf(info); len(kinds) == 0 || slices.Contains(kinds, ref.Kind) {
			refs = append(refs, ref)
		}
	}
	return refs
}

func refOf(info *resource.Info) kube.Ref {
	namespace := info.Namespace
	if info.Mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		namespace = ""
	}
	return kube.NewRef(info.Mapping.GroupVersionKind, namespace, info.Name)
}

// refused says that Helm's own wait was reached, which nothing here asks for.
func refused(what string) error { return fmt.Errorf("helm: %s is not used: the watcher waits", what) }

func (g *guard) Wait(helmkube.ResourceList, time.Duration) error { return refused("Wait") }
func (g *guard) WaitWithJobs(helmkube.ResourceList, time.Duration) error {
	return refused("WaitWithJobs")
}

// records is Helm's storage of releases with a context: once that is done it changes nothing more. A release that is then left
// pending is unlocked by the next run.
type records struct {
	driver.Driver
	ctx   context.Context // Helm's interface has no place for one
	guard *guard
}

// Create records a new revision, which is before anything is changed for it. What unfinished revisions have left goes first:
// once the new one is deployed nothing looks for that any more.
func (r records) Create(key string, rel *release.Release) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if err := r.guard.sweepFor(rel); err != nil {
		return err
	}
	return r.Driver.Create(key, rel)
}

func (r records) Update(key string, rel *release.Release) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	return r.Driver.Update(key, rel)
}

func (r records) Delete(key string) (*release.Release, error) {
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	return r.Driver.Delete(key)
}
