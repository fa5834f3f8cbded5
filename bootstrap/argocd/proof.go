package argocd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// proof looks at everything that Argo CD applied, through Applications in Applications.
type proof struct {
	*ArgoCD
	client  *kube.Client
	watcher *kube.Watcher
	target  reconciler.Target
	p       plan.Progress
	root    *unstructured.Unstructured // the Application of the repository
	told    map[kube.Ref]bool          // what was warned of
}

func (a *ArgoCD) proof(c *kube.Client, w *kube.Watcher, t reconciler.Target, p plan.Progress) *proof {
	pr := &proof{ArgoCD: a, client: c, watcher: w, target: t, p: p, told: map[kube.Ref]bool{}}
	for _, obj := range t.Objects {
		pr.told[kube.RefOf(obj)] = true // those that do not sync by themselves are caveats
	}
	return pr
}

// goal is what an Application is to be at.
func (pr *proof) goal(obj *unstructured.Unstructured) goal {
	if kube.RefOf(obj) == pr.applicationRef() {
		return goalOf(pr.target)
	}
	return goalOf(pr.target).of(pr.root, obj)
}

// visit calls do for the Application and for those that it leads to, and keeps the first.
func (pr *proof) visit(ctx context.Context, manual func(kube.Ref), do func(ref kube.Ref, obj *unstructured.Unstructured) error) error {
	return pr.ArgoCD.visit(ctx, pr.client, manual, func(ref kube.Ref, obj *unstructured.Unstructured) error {
		if ref == pr.applicationRef() {
			pr.root = obj
		}
		return do(ref, obj)
	})
}

// wake has those Applications that the first leads to look or try again now which would not soon, or ever: what follows the repository
// is not told of a commit, and one whose sync failed, or that does not heal itself, does not sync the same commit again.
func (pr *proof) wake(ctx context.Context) (plan.Outcome, error) {
	outcome := plan.Unchanged
	err := pr.visit(ctx, nil, func(ref kube.Ref, obj *unstructured.Unstructured) error {
		if obj == nil || ref == pr.applicationRef() || isSkipped(obj) {
			return nil
		}
		s, to := stateOf(obj), pr.goal(obj)
		refresh, again := "", s.gaveUp(to) || isAutomated(obj) && s.drifted(to)
		switch {
		case s.stalled:
			refresh = "hard" // the failure may be one that is cached
		case !s.current || s.status == "": // it looks anyhow
		case !to.is(s.revisions):
			refresh = "normal"
		case slices.Contains(relations(pr.root, obj), kindred) && !slices.Contains(s.revisions, pr.target.Commit):
			return pr.ask(ctx, obj, "normal", again) // whether it changes anything is not known
		}
		if refresh == "" && !again {
			return nil
		}
		outcome = plan.Changed
		return pr.ask(ctx, obj, refresh, again)
	})
	return outcome, err
}

// ask has an Application look at its sources, and sync once more as it would by itself.
func (pr *proof) ask(ctx context.Context, obj *unstructured.Unstructured, refresh string, sync bool) error {
	patch := map[string]any{}
	if refresh != "" {
		patch["metadata"] = map[string]any{"annotations": map[string]any{refreshAnnotation: refresh}}
	}
	if sync {
		policy, _, _ := unstructured.NestedMap(obj.Object, "spec", "syncPolicy")
		operation := map[string]any{"syncOptions": policy["syncOptions"], "prune": stateOf(obj).prunes}
		retry, found := policy["retry"]
		if !found {
			retry = map[string]any{"limit": int64(5)} // as Argo CD retries by itself
		}
		patch["operation"] = map[string]any{"initiatedBy": map[string]any{"username": providers.Owner}, "retry": retry, "sync": operation}
	}
	raw, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	return pr.client.MergePatch(ctx, kube.RefOf(obj), raw)
}

// healthy waits until everything that Argo CD applied is ready, through Applications in Applications.
func (pr *proof) healthy(ctx context.Context) error {
	manual := func(ref kube.Ref) { pr.warn(ref, "%s is not proven: "+notAutomated, ref) }
	return pr.visit(ctx, manual, func(ref kube.Ref, obj *unstructured.Unstructured) error {
		if obj == nil {
			return fault.New(fault.Failed, "is gone").On("%s", ref).WithHint("something deleted it while rekindle was waiting for it")
		}
		plain, inner := resources(obj)
		if err := pr.awaitNested(ctx, obj, inner); err != nil {
			return err
		}
		if err := pr.watcher.AwaitReports(ctx, plain, pr.p); err != nil {
			return err
		}
		if err := pr.watcher.Ready(ctx, plain, pr.p); err != nil {
			return fault.Wrap(err, fault.Failed, "what it applied is not healthy").On("%s", ref)
		}
		if err := pr.tellExtra(ctx, obj); err != nil {
			return err
		}
		for _, set := range setsOf(plain) {
			if err := pr.watcher.Until(ctx, set, "synced", generates, pr.p); err != nil {
				return pr.stuck(ctx, pr.client, err)
			}
		}
		generated, err := made(ctx, pr.client, plain)
		if err != nil {
			return err
		}
		return pr.awaitNested(ctx, obj, generated)
	})
}

// tellExtra names what an Application leaves in place that Git has no more.
func (pr *proof) tellExtra(ctx context.Context, by *unstructured.Unstructured) error {
	if isRemote(by) {
		return nil
	}
	for _, fields := range entries(by, "status", "resources") {
		ref := refOf(fields)
		if fields["requiresPruning"] != true || pr.told[ref] {
			continue
		}
		live, err := pr.client.Get(ctx, ref)
		if err != nil {
			return err
		}
		if live != nil && live.GetDeletionTimestamp() == nil {
			pr.warn(ref, "%s is in Git no more, and %s does not prune it", ref, kube.RefOf(by))
		}
	}
	return nil
}

func (pr *proof) warn(ref kube.Ref, format string, args ...any) {
	if !pr.told[ref] {
		pr.told[ref] = true
		pr.p.Warn(fmt.Sprintf(format, args...))
	}
}

// awaitNested waits for the Applications that another one has brought, itself or by an ApplicationSet. One that gave up, or could not
// compare, is asked to try again when the others are there: it may have lacked what came beside it, as its project, or what one of them brings.
func (pr *proof) awaitNested(ctx context.Context, by *unstructured.Unstructured, refs []kube.Ref) error {
	refs = inWaves(by, refs)
	for _, last := range []bool{false, true} {
		var again []kube.Ref
		for _, ref := range refs {
			gaveUp, err := pr.await(ctx, by, ref, last)
			if err != nil {
				return pr.stuck(ctx, pr.client, err)
			}
			if gaveUp {
				again = append(again, ref)
			}
		}
		for _, ref := range again {
			if err := pr.askAgain(ctx, ref); err != nil {
				return err
			}
		}
		refs = again
	}
	return nil
}

// askAgain has an Application look or sync once more if it would not by itself.
func (pr *proof) askAgain(ctx context.Context, ref kube.Ref) error {
	obj, err := pr.client.Get(ctx, ref)
	if err != nil || obj == nil {
		return err
	}
	switch s := stateOf(obj); {
	case s.stalled:
		return pr.ask(ctx, obj, "hard", false)
	case s.gaveUp(pr.goal(obj)):
		return pr.ask(ctx, obj, "", true)
	}
	return nil
}

// await waits until an Application is as wanted, or has given up; the last time this is a failure, unless it looks again.
func (pr *proof) await(ctx context.Context, by *unstructured.Unstructured, ref kube.Ref, last bool) (gaveUp bool, err error) {
	if err := pr.watcher.Until(ctx, kube.RefOf(by), "applied", applies(pr.goal(by), ref), pr.p); err != nil {
		return false, err
	}
	rolled, err := isRolled(ctx, pr.client, ref)
	if err != nil {
		return false, err
	}
	judge := nested(pr.root, goalOf(pr.target), rolled)
	err = pr.watcher.Until(ctx, ref, "synced", func(obj *unstructured.Unstructured) kube.Health {
		h := judge(obj)
		if h.Ready || h.Failed || obj == nil {
			return h
		}
		s, to := stateOf(obj), pr.goal(obj)
		if s.stalled && last || !s.stalled && (!s.at(to) || !s.gaveUp(to)) {
			return h
		}
		gaveUp = !last
		return kube.Health{Ready: gaveUp, Failed: last, Message: h.Message}
	}, pr.p)
	return gaveUp, err
}

// inWaves puts objects into the order in which an Application applies them.
func inWaves(by *unstructured.Unstructured, refs []kube.Ref) []kube.Ref {
	wave := map[kube.Ref]int64{}
	for _, fields := range entries(by, "status", "resources") {
		wave[refOf(fields)], _ = fields["syncWave"].(int64)
	}
	return slices.SortedStableFunc(slices.Values(refs), func(a, b kube.Ref) int { return cmp.Compare(wave[a], wave[b]) })
}
