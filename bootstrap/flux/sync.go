package flux

import (
	"context"
	"time"

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

// Point makes the objects that point Flux at the repository, and at the path in it when path is set. It
// waits for nothing: the controllers may not run yet. The outcome is Changed when any was made or changed.
func (f *Flux) Point(ctx context.Context, c *kube.Client, t reconciler.Target, path bool) (plan.Outcome, error) {
	if err := f.checkNames(ctx, c); err != nil {
		return "", err
	}
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
		_, changed, err := reconciler.Apply(ctx, c, obj, nameField)
		if err != nil {
			return "", err
		}
		if changed != plan.Unchanged {
			outcome = plan.Changed
		}
	}
	return outcome, nil
}

// Foresee tells what Point would change.
func (f *Flux) Foresee(ctx context.Context, c *kube.Client, t reconciler.Target, path bool) ([]kube.Difference, error) {
	if err := f.checkNames(ctx, c); err != nil {
		return nil, err
	}
	objs := []*unstructured.Unstructured{f.repository(t)}
	if path {
		obj, err := f.kustomization(ctx, t)
		if err != nil {
			return nil, err
		}
		objs = append(objs, obj)
	}
	return reconciler.Foresee(ctx, c, nameField, objs...)
}

// checkNames refuses to point Flux at the path a second time, under another name or in another namespace than before: the two would take each
// other's objects away from each other for ever, and what removes the first would remove these.
func (f *Flux) checkNames(ctx context.Context, c *kube.Client) error {
	ref := f.kustomizationRef()
	resource := schema.GroupVersionResource{Group: kustomizeGroup, Version: version, Resource: "kustomizations"}
	list, err := c.Dynamic().Resource(resource).List(ctx, metav1.ListOptions{LabelSelector: providers.LabelOwner + "=" + providers.Owner})
	if apierrors.IsNotFound(err) {
		return nil // the kind is not served yet
	}
	if err != nil {
		return err
	}
	for i := range list.Items {
		had := kube.RefOf(&list.Items[i])
		how, field, value := "by another name", nameField, had.Name
		switch {
		case had == ref:
			continue
		case had.Namespace != ref.Namespace:
			how, field, value = "in another namespace", namespaceField, had.Namespace
		}
		return fault.New(fault.Refused, "rekindle has pointed Flux at the repository %s before", how).On("%s", had).
			WithHint("set %s to %s again; or have Flux let go of what it applied: kubectl -n %s patch kustomization %s --type=merge "+
				"-p '{\"spec\":{\"deletionPolicy\":\"Orphan\"}}', then delete the Kustomization and the GitRepository %s", field, value, had.Namespace, had.Name, had.Name)
	}
	return nil
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
// applied is healthy. What failed before is asked to try again, and what has lost objects to apply them again. It fails early where
// waiting would not help: a path that does not build, a key that does not open a file, an object that the API server finds invalid.
//
// fresh is as in Follow.
func (f *Flux) Sync(ctx context.Context, c *kube.Client, w *kube.Watcher, t reconciler.Target, fresh bool, p plan.Progress) (plan.Outcome, error) {
	outcome, err := f.Apply(ctx, c, w, t, fresh, p)
	if err != nil {
		return outcome, err
	}
	pr := f.proof(c, w, t, p)
	woken, err := pr.wake(ctx)
	if err != nil {
		return outcome, err
	}
	if woken != plan.Unchanged {
		outcome = woken
	}
	if err = pr.bringBack(ctx); err == nil {
		err = pr.healthy(ctx)
	}
	if len(pr.asked) > 0 {
		outcome = plan.Changed
	}
	return outcome, err
}

// Apply makes the object that applies the path, and waits until Flux has applied everything, healthy or not; fresh is
// as in Follow.
func (f *Flux) Apply(ctx context.Context, c *kube.Client, w *kube.Watcher, t reconciler.Target, fresh bool, p plan.Progress) (plan.Outcome, error) {
	obj, err := f.kustomization(ctx, t)
	if err != nil {
		return "", err
	}
	if fresh && t.InPods {
		if err := f.routed(ctx, c, p); err != nil {
			return "", err
		}
	}
	return f.ensure(ctx, c, obj, t.Commit, fresh, func(request string) kube.Judge { return applied(t.Commit, request) },
		func(ctx context.Context, judge kube.Judge) error {
			return w.Until(ctx, f.kustomizationRef(), "applied", judge, p)
		})
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

// Again makes Flux apply some objects once more, by the Kustomizations that have applied them, and waits until these have and everything
// is healthy.
func (f *Flux) Again(ctx context.Context, c *kube.Client, w *kube.Watcher, t reconciler.Target, objs []kube.Ref, p plan.Progress) error {
	pr := f.proof(c, w, t, p)
	owners, err := pr.owners(ctx, objs)
	if err != nil {
		return err
	}
	if err := pr.applyAgain(ctx, owners); err != nil {
		return err
	}
	return pr.healthy(ctx)
}

// ensure applies one of our objects, asks Flux to look where it is not as judged, and waits.
func (f *Flux) ensure(ctx context.Context, c *kube.Client, obj *unstructured.Unstructured, commit string, fresh bool,
	judge func(request string) kube.Judge, await func(context.Context, kube.Judge) error) (plan.Outcome, error) {
	live, outcome, err := reconciler.Apply(ctx, c, obj, nameField)
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

// stuck adds to the error of a wait what the objects of Flux say.
func (f *Flux) stuck(ctx context.Context, c *kube.Client, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	look := "kubectl -n " + f.spec.Namespace + " get gitrepositories,kustomizations"
	if controllers := c.Explain(ctx, f.controllers()); len(controllers) > 0 {
		look = "look at its controllers: " + controllers[0]
	}
	return reconciler.Stuck(err, "flux", look)
}

// controllers are the Deployments that have to run for anything to happen.
func (f *Flux) controllers() []kube.Ref {
	var refs []kube.Ref
	for _, name := range []string{"source-controller", "kustomize-controller"} {
		refs = append(refs, kube.Ref{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: f.spec.Namespace, Name: name})
	}
	return refs
}
