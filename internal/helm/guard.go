package helm

import (
	"context"
	"fmt"
	"slices"
	"time"

	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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
}

func (g *guard) Create(r helmkube.ResourceList) (*helmkube.Result, error) {
	if err := g.ctx.Err(); err != nil {
		return nil, err
	}
	return g.Client.Create(r)
}

func (g *guard) Update(original, target helmkube.ResourceList, force bool) (*helmkube.Result, error) {
	if err := g.ctx.Err(); err != nil {
		return nil, err
	}
	return g.Client.Update(original, target, force)
}

func (g *guard) UpdateThreeWayMerge(original, target helmkube.ResourceList, force bool) (*helmkube.Result, error) {
	if err := g.ctx.Err(); err != nil {
		return nil, err
	}
	return g.Client.UpdateThreeWayMerge(original, target, force)
}

func (g *guard) Delete(r helmkube.ResourceList) (*helmkube.Result, []error) {
	if err := g.ctx.Err(); err != nil {
		return nil, []error{err}
	}
	return g.Client.Delete(r)
}

func (g *guard) DeleteWithPropagationPolicy(r helmkube.ResourceList, policy metav1.DeletionPropagation) (*helmkube.Result, []error) {
	if err := g.ctx.Err(); err != nil {
		return nil, []error{err}
	}
	return g.Client.DeleteWithPropagationPolicy(r, policy)
}

// WatchUntilReady waits for hooks: Jobs until they are complete, Pods until they have succeeded.
func (g *guard) WatchUntilReady(r helmkube.ResourceList, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(g.ctx, timeout)
	defer cancel()
	for _, ref := range refsOf(r, "Job", "Pod") { // a hook is one object
		g.progress.Waiting("hook " + ref.String())
		if err := g.watcher.Until(ctx, ref, "done", ended, g.progress); err != nil {
			return fault.Wrap(err, fault.Failed, "a hook of the chart did not succeed").
				WithHint("the hook's %s is left for you to look at; after the cause is mended, run the same command again", ref.Kind)
		}
	}
	return nil
}

// ended tells of a hook whether it has done its work: a Pod that runs has not.
func ended(state *unstructured.Unstructured) kube.Health {
	if state == nil {
		return kube.Health{Message: "does not exist yet"}
	}
	h := kube.HealthOf(state)
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
		gvk := info.Mapping.GroupVersionKind
		if len(kinds) > 0 && !slices.Contains(kinds, gvk.Kind) {
			continue
		}
		namespace := info.Namespace
		if info.Mapping.Scope.Name() != meta.RESTScopeNameNamespace {
			namespace = ""
		}
		refs = append(refs, kube.NewRef(gvk, namespace, info.Name))
	}
	return refs
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
	ctx context.Context // Helm's interface has no place for one
}

func (r records) Create(key string, rel *release.Release) error {
	if err := r.ctx.Err(); err != nil {
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
