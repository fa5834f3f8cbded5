package flux

import (
	"context"
	"fmt"
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
	annotations := fmt.Sprintf(`%q:%q`, requestedAt, request)
	if ref.Group == helmGroup {
		annotations += fmt.Sprintf(`,%q:%q`, resetAt, request)
	}
	return request, c.MergePatch(ctx, ref, []byte(`{"metadata":{"annotations":{`+annotations+`}}}`))
}

// wake asks what the repository leads to, and failed before this run, to try again: some would not by themselves, ever or for an hour.
// It waits for the other GitRepositories of this repository to be at the commit, as what is made from them follows from there.
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
	err = reconciler.Visit(ctx, pr.client, pr.kustomizationRef(), func(ref kube.Ref, obj *unstructured.Unstructured) (leads []kube.Ref, err error) {
		if obj == nil {
			return nil, nil
		}
		for _, one := range inventory(obj) {
			if one.GroupKind() == ref.GroupKind() {
				leads = append(leads, one)
			} else if one.Group != helmGroup {
				continue
			}
			if err := pr.retry(ctx, one); err != nil {
				return nil, err
			}
		}
		return leads, nil
	})
	if len(pr.asked) > 0 {
		return plan.Changed, err
	}
	return plan.Unchanged, err
}

// retry asks for another try of what has failed.
func (pr *proof) retry(ctx context.Context, ref kube.Ref) error {
	obj, err := pr.client.Get(ctx, ref)
	if err != nil || obj == nil || isSuspended(obj) || readyOf(obj).status != "False" {
		return err
	}
	pr.asked[ref], err = pr.poke(ctx, pr.client, ref)
	return err
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
