package flux

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// The annotations by which Flux is told to look now, and to forget how often a HelmRelease has failed.
const (
	requestedAt = "reconcile.fluxcd.io/requestedAt"
	resetAt     = "reconcile.fluxcd.io/resetAt"
)

// poke asks Flux to reconcile an object now, and returns the mark by which the answer is known.
func (f *Flux) poke(ctx context.Context, c *kube.Client, ref kube.Ref) (request string, err error) {
	request = time.Now().UTC().Format(time.RFC3339Nano)
	if ref.Group == helmGroup {
		return request, annotate(ctx, c, ref, request, requestedAt, resetAt)
	}
	return request, annotate(ctx, c, ref, request, requestedAt)
}

// annotate makes a request to Flux by some annotations of an object.
func annotate(ctx context.Context, c *kube.Client, ref kube.Ref, request string, keys ...string) error {
	annotations := map[string]string{}
	for _, key := range keys {
		annotations[key] = request
	}
	return reconciler.Annotate(ctx, c, ref, annotations)
}

// wake asks what the repository leads to, and failed before this run, to try again: some would not by themselves, ever or for an hour.
// It waits for the other GitRepositories of this repository to be at the commit, as what is made from them follows from there. What
// others look at is asked before them.
func (pr *proof) wake(ctx context.Context) (plan.Outcome, error) {
	ours, err := pr.sources(ctx, pr.client)
	if err != nil {
		return "", err
	}
	for ref := range ours {
		if ref != pr.repositoryRef() {
			if err := pr.fetch(ctx, ref); err != nil {
				return "", err
			}
		}
	}
	var order []kube.Ref
	err = reconciler.Visit(ctx, pr.client, pr.kustomizationRef(), func(_ kube.Ref, obj *unstructured.Unstructured) (leads []kube.Ref, err error) {
		if obj == nil {
			return nil, nil
		}
		inner, rest := pr.apart(inventory(obj))
		order = append(order, inner...)
		for _, one := range rest {
			if one.Group == helmGroup {
				order = append(order, one)
			}
		}
		return inner, nil
	})
	for _, ref := range slices.Backward(order) {
		if err == nil {
			err = pr.retry(ctx, ref)
		}
	}
	if len(pr.asked) > 0 {
		return plan.Changed, err
	}
	return plan.Unchanged, err
}

// retry asks for another try of what has failed. Of a HelmRelease that has given up it awaits that it begins: a Kustomization that
// still met it so would give up at once, too, and not look again before its retryInterval is over.
func (pr *proof) retry(ctx context.Context, ref kube.Ref) error {
	obj, err := pr.client.Get(ctx, ref)
	if err != nil || obj == nil || isSuspended(obj) || readyOf(obj).status != "False" {
		return err
	}
	request, err := pr.poke(ctx, pr.client, ref)
	if err != nil {
		return err
	}
	pr.asked[ref] = request
	if ref.Group != helmGroup || !pr.target.InPods { // nothing acts on it on simulated nodes
		return nil
	}
	if err := pr.watcher.Until(ctx, ref, "tried again", begun(request), pr.p); err != nil {
		return pr.stuck(ctx, pr.client, err)
	}
	return nil
}

// begun judges what was asked to try again: ready when it has not given up any more, or gave up in that try.
func begun(request string) kube.Judge {
	return func(obj *unstructured.Unstructured) kube.Health {
		if obj == nil || isSuspended(obj) || handled(obj) == request {
			return kube.Health{Ready: true}
		}
		stalled, reason, message := kube.Condition(obj, "Stalled")
		return kube.Health{Ready: stalled != "True", Message: reason + ": " + message}
	}
}

// fetch waits until another GitRepository of our repository is at the commit.
func (pr *proof) fetch(ctx context.Context, ref kube.Ref) error {
	obj, err := pr.client.Get(ctx, ref)
	if err != nil || obj == nil || isSuspended(obj) || fetched(pr.target.Commit, "")(obj).Ready {
		return err
	}
	if pr.asked[ref], err = pr.poke(ctx, pr.client, ref); err != nil {
		return err
	}
	if err := pr.watcher.Until(ctx, ref, "fetched", fetched(pr.target.Commit, pr.asked[ref]), pr.p); err != nil {
		return pr.stuck(ctx, pr.client, err)
	}
	return nil
}
