package argocd

import (
	"context"
	"encoding/json"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
)

// Point makes the project, the Secret with the way into the repository, and the Application. Where the path is to wait,
// the Application only compares, unless an earlier run has let it apply already.
func (a *ArgoCD) Point(ctx context.Context, c *kube.Client, t reconciler.Target, path bool) (plan.Outcome, error) {
	outcome := plan.Unchanged
	for _, obj := range []*unstructured.Unstructured{a.project(t), a.repository(t)} {
		_, changed, err := reconciler.Apply(ctx, c, obj, namespaceField)
		if err != nil {
			return "", err
		}
		if changed != plan.Unchanged {
			outcome = plan.Changed
		}
	}
	automated, err := a.automated(ctx, c)
	if err != nil {
		return "", err
	}
	_, changed, err := reconciler.Apply(ctx, c, a.application(t, path || automated), namespaceField)
	if changed != plan.Unchanged {
		outcome = plan.Changed
	}
	return outcome, err
}

// Foresee tells what Point would change.
func (a *ArgoCD) Foresee(ctx context.Context, c *kube.Client, t reconciler.Target, path bool) ([]kube.Difference, error) {
	automated, err := a.automated(ctx, c)
	if err != nil {
		return nil, err
	}
	app, err := a.untried(ctx, c)
	if path && err == nil {
		err = refuseStrangers(app)
	}
	if err != nil {
		return nil, err
	}
	return reconciler.Foresee(ctx, c, namespaceField, a.project(t), a.repository(t), a.application(t, path || automated))
}

// automated says whether the Application applies what it finds.
func (a *ArgoCD) automated(ctx context.Context, c *kube.Client) (bool, error) {
	obj, err := c.Get(ctx, a.applicationRef())
	if err != nil || obj == nil {
		return false, err
	}
	return isAutomated(obj), nil
}

// isAutomated says whether an Application syncs by itself.
func isAutomated(obj *unstructured.Unstructured) bool {
	policy, found, _ := unstructured.NestedMap(obj.Object, "spec", "syncPolicy", "automated")
	return found && policy["enabled"] != false
}

// Follow waits until Argo CD has fetched and rendered the path at the commit, and makes it do so now where it did not.
func (a *ArgoCD) Follow(ctx context.Context, c *kube.Client, w *kube.Watcher, t reconciler.Target, fresh bool, p plan.Progress) (plan.Outcome, error) {
	automated, err := a.automated(ctx, c)
	if err != nil {
		return "", err
	}
	return a.ensure(ctx, c, w, t, automated, fresh, "fetched", fetched(goalOf(t)), p)
}

// Apply lets Argo CD apply the path, and waits until it has. Where later waves wait for earlier objects that are not
// healthy, those are not applied yet.
func (a *ArgoCD) Apply(ctx context.Context, c *kube.Client, w *kube.Watcher, t reconciler.Target, fresh bool, p plan.Progress) (plan.Outcome, error) {
	app, err := a.untried(ctx, c)
	if err == nil {
		err = refuseStrangers(app)
	}
	if err != nil {
		return "", err
	}
	warnOfShared(app, p)
	return a.ensure(ctx, c, w, t, true, fresh, "applied", applied(goalOf(t)), p)
}

// Sync lets Argo CD apply the path, and waits until it is in sync at the commit and everything that it applied is ready.
func (a *ArgoCD) Sync(ctx context.Context, c *kube.Client, w *kube.Watcher, t reconciler.Target, fresh bool, p plan.Progress) (plan.Outcome, error) {
	outcome, err := a.Apply(ctx, c, w, t, fresh, p)
	if err != nil {
		return outcome, err
	}
	pr := a.proof(c, w, t, p)
	woken, err := pr.wake(ctx)
	if err != nil {
		return outcome, err
	}
	if woken != plan.Unchanged {
		outcome = woken
	}
	if err := pr.healthy(ctx); err != nil {
		return outcome, err
	}
	if err := w.Until(ctx, a.applicationRef(), "synced", synced(goalOf(t)), p); err != nil {
		return outcome, a.stuck(ctx, c, err)
	}
	return outcome, pr.healthy(ctx) // also what it has come to know of since
}

// Again makes Argo CD apply the path once more, whichever objects are meant, and waits until it has and everything is ready. What other
// Applications have applied they put back themselves.
func (a *ArgoCD) Again(ctx context.Context, c *kube.Client, w *kube.Watcher, t reconciler.Target, _ []kube.Ref, p plan.Progress) error {
	if err := a.request(ctx, c, t.Commit, true); err != nil {
		return err
	}
	if err := w.Until(ctx, a.applicationRef(), "synced", synced(goalOf(t)), p); err != nil {
		return a.stuck(ctx, c, err)
	}
	return a.proof(c, w, t, p).healthy(ctx)
}

// ensure applies the Application, asks Argo CD to look where it is not as judged, and waits.
func (a *ArgoCD) ensure(ctx context.Context, c *kube.Client, w *kube.Watcher, t reconciler.Target, automated, fresh bool,
	goal string, judge kube.Judge, p plan.Progress) (plan.Outcome, error) {
	live, outcome, err := reconciler.Apply(ctx, c, a.application(t, automated), namespaceField)
	if err != nil {
		return "", err
	}
	if live != nil && outcome == plan.Unchanged && !fresh && !judge(live).Ready && !isSkipped(live) {
		outcome = plan.Changed
		if err := a.look(ctx, c, live, goalOf(t), automated, p); err != nil {
			return outcome, err
		}
	}
	if err := w.Until(ctx, a.applicationRef(), goal, judge, p); err != nil {
		return outcome, a.stuck(ctx, c, err)
	}
	return outcome, nil
}

// look asks Argo CD to look now. An operation that waits for what another commit brought would wait for ever, and one
// that has ended without success is not begun again by itself.
func (a *ArgoCD) look(ctx context.Context, c *kube.Client, live *unstructured.Unstructured, to goal, sync bool, p plan.Progress) error {
	s, told, err := a.end(ctx, c, live, to, p)
	if err != nil {
		return err
	}
	if told {
		ended := func(obj *unstructured.Unstructured) bool {
			return !stateOf(obj).running() || stateOf(obj).operatedAt(to)
		}
		if err := halt(ctx, c, a.applicationRef(), ended, p); err != nil {
			return a.stuck(ctx, c, err)
		}
	}
	return a.request(ctx, c, to.commit, sync && (told || s.gaveUp(to) && s.operatedAt(to)))
}

// end tells an operation on another commit to end, and gives the state by which it has judged. It writes to nothing but what it has
// read: an operation that has ended meanwhile would keep the phase that it is given, as Argo CD has nothing left to end.
func (a *ArgoCD) end(ctx context.Context, c *kube.Client, live *unstructured.Unstructured, to goal, p plan.Progress) (s state, told bool, err error) {
	ends := wait.Func("Argo CD is told to end its operation", func(ctx context.Context) (bool, string, error) {
		if s = stateOf(live); !s.running() || s.operatedAt(to) {
			return true, "", nil
		}
		err := amend(ctx, c, live, terminating())
		if !kube.Transient(err) { // a conflict is
			told = err == nil
			return told, "", err
		}
		now, failed := c.Get(ctx, a.applicationRef())
		if failed == nil && now != nil {
			live = now
		}
		return false, err.Error(), failed
	})
	err = wait.Poll(ctx, ends, 200*time.Millisecond, p)
	return s, told, err
}

// halt waits until the operation of an Application has ended. It is told so again each time that it goes on: Argo CD writes what it was
// about to write when it was told. One that has not begun is taken back.
func halt(ctx context.Context, c *kube.Client, ref kube.Ref, ended func(*unstructured.Unstructured) bool, p plan.Progress) error {
	over := wait.Func("Argo CD ends the operation of "+ref.String(), func(ctx context.Context) (bool, string, error) {
		app, err := c.Get(ctx, ref)
		if err != nil || app == nil || ended(app) {
			return err == nil, "", err
		}
		s := stateOf(app)
		var change map[string]any
		switch {
		case s.phase == phaseRunning:
			change = terminating()
		case s.asked:
			change = map[string]any{"operation": nil}
		default:
			return false, s.message, nil
		}
		err = amend(ctx, c, app, change)
		if apierrors.IsNotFound(err) || kube.Transient(err) { // a conflict is
			err = nil
		}
		return false, s.message, err
	})
	return wait.Poll(ctx, over, 500*time.Millisecond, p)
}

// terminating is the change of an Application that has Argo CD end its operation.
func terminating() map[string]any {
	return map[string]any{"status": map[string]any{"operationState": map[string]any{"phase": phaseTerminating}}}
}

// idle says whether Argo CD has no operation of an Application to do.
func idle(obj *unstructured.Unstructured) bool {
	_, found, _ := unstructured.NestedMap(obj.Object, "operation")
	return !found
}

// amend changes an Application as it was read, and fails if it is another by now.
func amend(ctx context.Context, c *kube.Client, read *unstructured.Unstructured, change map[string]any) error {
	change["metadata"] = map[string]any{"resourceVersion": read.GetResourceVersion()}
	patch, err := json.Marshal(change)
	if err != nil {
		return err
	}
	_, err = c.Dynamic().Resource(applicationResource()).Namespace(read.GetNamespace()).
		Patch(ctx, read.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.Manager})
	return err
}

// request asks Argo CD to look at the repository now, past its caches, and to sync to the commit if sync is set.
func (a *ArgoCD) request(ctx context.Context, c *kube.Client, commit string, sync bool) error {
	patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{refreshAnnotation: "hard"}}}
	if sync {
		patch["operation"] = map[string]any{
			"initiatedBy": map[string]any{"username": providers.Owner}, "retry": retry(),
			"sync": map[string]any{"revision": commit, "prune": true, "syncOptions": syncOptions()},
		}
	}
	raw, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	return c.MergePatch(ctx, a.applicationRef(), raw)
}

// stuck adds to the error of a wait what the controllers of Argo CD say.
func (a *ArgoCD) stuck(ctx context.Context, c *kube.Client, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	look := "kubectl -n " + a.spec.Namespace + " get applications " + a.name + " -o yaml"
	if controllers := c.Explain(ctx, a.controllers()); len(controllers) > 0 {
		look = "look at its controllers: " + controllers[0]
	}
	return reconciler.Stuck(err, "argocd", look)
}
