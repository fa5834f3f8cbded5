package flux

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// requestedAt is the annotation by which Flux is told to look now.
const requestedAt = "reconcile.fluxcd.io/requestedAt"

// Point makes the objects that point Flux at the repository, and at the path in it when path is set. It
// waits for nothing: the controllers may not run yet. The outcome is Changed when any was made or changed.
func (f *Flux) Point(ctx context.Context, c *kube.Client, t reconciler.Target, path bool) (plan.Outcome, error) {
	objs := []*unstructured.Unstructured{f.repository(t)}
	if path {
		obj, err := f.kustomization(ctx, t)
		if err != nil {
			return "", err
		}
		objs = append(objs, obj)
	}
	outcome := plan.Unchanged
	for _, obj := range objs {
		_, changed, err := reconciler.Apply(ctx, c, obj, namespaceField)
		if err != nil {
			return "", err
		}
		if changed != plan.Unchanged {
			outcome = plan.Changed
		}
	}
	return outcome, nil
}

// Follow waits until Flux has fetched the repository at the commit, and makes it do so now where it did not.
// fresh says that Flux was pointed there just now: it looks without being asked.
func (f *Flux) Follow(ctx context.Context, c *kube.Client, w *kube.Watcher, t reconciler.Target, fresh bool, p plan.Progress) (plan.Outcome, error) {
	return f.ensure(ctx, c, f.repository(t), t.Commit, fresh, func(request string) kube.Judge { return fetched(t.Commit, request) },
		func(ctx context.Context, judge kube.Judge) error {
			return w.Until(ctx, f.repositoryRef(), "fetched", judge, p)
		})
}

// Sync makes Flux apply the path, and waits until it did so at the commit and everything that it
// applied is healthy. It fails early where waiting would not help: a path that does not build, a key
// that does not open a file, an object that the API server finds invalid.
//
// fresh is as in Follow.
func (f *Flux) Sync(ctx context.Context, c *kube.Client, w *kube.Watcher, t reconciler.Target, fresh bool, p plan.Progress) (plan.Outcome, error) {
	outcome, request, err := f.applyPath(ctx, c, w, t, fresh, p)
	if err != nil {
		return outcome, err
	}
	if err := f.healthy(ctx, c, w, t.Commit, p); err != nil {
		return outcome, err
	}
	if err := w.Until(ctx, f.kustomizationRef(), "synced", applied(t.Commit, request), p); err != nil {
		return outcome, f.stuck(ctx, c, err)
	}
	// Where Flux had applied another commit before, that one's objects may have been looked at: only now these are surely known.
	return outcome, f.healthy(ctx, c, w, t.Commit, p)
}

// Apply makes the object that applies the path, and waits until Flux has applied everything, healthy or not; fresh is
// as in Follow.
func (f *Flux) Apply(ctx context.Context, c *kube.Client, w *kube.Watcher, t reconciler.Target, fresh bool, p plan.Progress) (plan.Outcome, error) {
	outcome, _, err := f.applyPath(ctx, c, w, t, fresh, p)
	return outcome, err
}

// applyPath is Apply that gives what Flux was asked with, empty when it needed no asking.
func (f *Flux) applyPath(ctx context.Context, c *kube.Client, w *kube.Watcher, t reconciler.Target, fresh bool, p plan.Progress) (o plan.Outcome, request string, err error) {
	obj, err := f.kustomization(ctx, t)
	if err != nil {
		return "", "", err
	}
	if fresh && t.InPods {
		if err := f.routed(ctx, c, p); err != nil {
			return "", "", err
		}
	}
	o, err = f.ensure(ctx, c, obj, t.Commit, fresh,
		func(r string) kube.Judge { request = r; return checkedBy(t.Commit, r) },
		func(ctx context.Context, judge kube.Judge) error {
			return w.Until(ctx, f.kustomizationRef(), "applied", judge, p)
		})
	return o, request, err
}

// routed waits until the artifacts of the source-controller can be had by its Service. The kustomize-controller asks at once, and
// whom nothing answers asks again after five seconds.
func (f *Flux) routed(ctx context.Context, c *kube.Client, p plan.Progress) error {
	since := time.Now()
	if obj, err := c.Get(ctx, f.controllers()[0]); err == nil && obj != nil {
		if at := kube.Since(obj, "Available"); !at.IsZero() {
			since = at
		}
	}
	return c.AwaitRoutes(ctx, since, "the source-controller is", p)
}

// Again makes Flux apply the path once more, and waits until it has and everything is healthy.
func (f *Flux) Again(ctx context.Context, c *kube.Client, w *kube.Watcher, t reconciler.Target, p plan.Progress) error {
	request, err := f.poke(ctx, c, f.kustomizationRef())
	if err != nil {
		return err
	}
	judge := applied(t.Commit, request)
	again := func(obj *unstructured.Unstructured) kube.Health {
		if h := judge(obj); !h.Ready || handled(obj) == request {
			return h
		}
		return kube.Health{Message: "is to be applied once more"}
	}
	if err := w.Until(ctx, f.kustomizationRef(), "synced", again, p); err != nil {
		return f.stuck(ctx, c, err)
	}
	return nil
}

// ensure applies one of our objects, asks Flux to look where it is not as judged, and waits.
func (f *Flux) ensure(ctx context.Context, c *kube.Client, obj *unstructured.Unstructured, commit string, fresh bool,
	judge func(request string) kube.Judge, await func(context.Context, kube.Judge) error) (plan.Outcome, error) {
	live, outcome, err := reconciler.Apply(ctx, c, obj, namespaceField)
	if err != nil {
		return "", err
	}
	request := ""
	if outcome == plan.Unchanged && !fresh && !judge("")(live).Ready && !rechecks(live, commit) {
		if request, err = f.poke(ctx, c, kube.RefOf(obj)); err != nil {
			return "", err
		}
		outcome = plan.Changed
	}
	if err := await(ctx, judge(request)); err != nil {
		return outcome, f.stuck(ctx, c, err)
	}
	return outcome, nil
}

// poke asks Flux to reconcile an object now, and returns the mark by which the answer is known.
func (f *Flux) poke(ctx context.Context, c *kube.Client, ref kube.Ref) (request string, err error) {
	request = time.Now().UTC().Format(time.RFC3339Nano)
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, requestedAt, request)
	return request, c.MergePatch(ctx, ref, []byte(patch))
}

// stuck adds to the error of a wait what the objects of Flux say.
func (f *Flux) stuck(ctx context.Context, c *kube.Client, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	e := fault.Wrap(err, fault.Failed, "it does not come into sync").On("flux")
	if controllers := c.Explain(ctx, f.controllers()); len(controllers) > 0 {
		return e.WithHint("look at its controllers: %s", controllers[0])
	}
	return e.WithHint("kubectl -n %s get gitrepositories,kustomizations", f.spec.Namespace)
}

// controllers are the Deployments that have to run for anything to happen.
func (f *Flux) controllers() []kube.Ref {
	var refs []kube.Ref
	for _, name := range []string{"source-controller", "kustomize-controller"} {
		refs = append(refs, kube.Ref{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: f.spec.Namespace, Name: name})
	}
	return refs
}
