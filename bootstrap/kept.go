package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/bootstrap/argocd"
	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// heirlooms are what the path declares and was in the cluster before it was lent: the reconciler writes into it, and Down leaves it.
// A later commit may have it no more, and with a namespace everything would go that others have in it.
type heirlooms struct {
	names []string                     // of all
	lacks []*unstructured.Unstructured // the reconciler would delete them, and is to be told not to
	asked []string                     // Git itself says whether it deletes them
}

// heirlooms looks for them. A cluster without a mark is not lent yet: Up will note what there is now.
func (j *Job) heirlooms(ctx context.Context) (h heirlooms, err error) {
	lender, lent := j.tools.Provider.(providers.Lender)
	keeper, keeps := j.follower.(reconciler.Keeper)
	if !lent || !keeps {
		return h, nil
	}
	before, err := j.before(ctx, lender)
	unmarked := errors.Is(err, providers.ErrNotFound)
	if err != nil && !unmarked {
		return h, err
	}
	keeping := keeper.Keeping()
	for _, obj := range j.renderedObjects() {
		ref := kube.RefOf(obj)
		if !before.Had(ref) && !(unmarked && reconciler.Outlasts(ref)) || slices.Contains(h.names, ref.String()) {
			continue
		}
		live, err := j.client.Get(ctx, ref)
		switch {
		case err != nil:
			return h, err
		case !reconciler.Stands(live):
			continue
		case obj.GetAnnotations()[keeping.Annotation] != "":
			h.asked = append(h.asked, ref.String())
		case keeping.Lacks(live):
			h.lacks = append(h.lacks, live)
		}
		h.names = append(h.names, ref.String())
	}
	return h, nil
}

// tell warns of them.
func (h heirlooms) tell(by string, p plan.Progress) {
	if len(h.names) > 0 {
		p.Warn(fmt.Sprintf("the repository declares what was in the cluster before: %s changes it as declared, and down leaves it: %s", by, strings.Join(h.names, ", ")))
	}
	if len(h.asked) > 0 {
		p.Warn(fmt.Sprintf("the repository says itself whether %s deletes, with everything in it, what a later commit has no more: %s", by, strings.Join(h.asked, ", ")))
	}
}

// keepBefore has the reconciler leave them also when Git has them no more, and gives them.
func (j *Job) keepBefore(ctx context.Context) (heirlooms, error) {
	h, err := j.heirlooms(ctx)
	for _, live := range h.lacks {
		if err == nil {
			err = j.follower.(reconciler.Keeper).Keeping().Keep(ctx, j.client, live)
		}
	}
	return h, err
}

// foreseen says what keepBefore would do.
func (h heirlooms) foreseen(by string) (changes []string) {
	for _, live := range h.lacks {
		changes = append(changes, fmt.Sprintf("have %s keep %s when a later commit has it no more", by, kube.RefOf(live)))
	}
	return changes
}

// letGo takes back what keepBefore has written, by whichever reconciler.
func (j *Job) letGo(ctx context.Context, before reconciler.Before) (plan.Outcome, error) {
	outcome := plan.Unchanged
	by := []reconciler.Keeping{flux.New(config.Flux{}).Keeping(), argocd.New(config.ArgoCD{}, "", 0).Keeping()}
	for _, resource := range []schema.GroupVersionResource{{Version: "v1", Resource: "namespaces"}, crdResource()} {
		list, err := j.client.Dynamic().Resource(resource).List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", fault.Wrap(err, fault.Failed, "look for what was there before").On("%s", resource.Resource)
		}
		for i := range list.Items {
			live := &list.Items[i]
			if !before.Had(kube.RefOf(live)) || !reconciler.IsKept(live) {
				continue
			}
			if err := reconciler.LetGo(ctx, j.client, live, by...); err != nil {
				return outcome, err
			}
			outcome = plan.Changed
		}
	}
	return outcome, nil
}
