package bootstrap

import (
	"context"
	"errors"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// Seek is a plan that finds a cluster which may not exist, or be half-made: then there is no client after it. It changes nothing. The
// context is as in Up.
func (j *Job) Seek(ctx context.Context) *plan.Plan {
	p := plan.New("seek " + j.Name())
	find := j.findCluster(j.live(ctx))
	look := find.Do
	find.Title = "see whether the cluster " + j.ref().String() + " exists"
	find.Do = func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
		outcome, err := look(ctx, p)
		switch {
		case errors.Is(err, providers.ErrNotFound):
			p.Note("it does not exist yet")
			return plan.Unchanged, nil
		case errors.Is(err, errIncomplete):
			p.Note("it is not complete yet")
			return plan.Unchanged, nil
		}
		return outcome, err
	}
	p.Add(find)
	return p
}

// Desired gives all objects that the charts and the repository render to, the CRDs of the charts first. Those of charts
// that leave their namespace to the release have none. There are none before Prepare.
func (j *Job) Desired() []*unstructured.Unstructured {
	all := slices.Clone(j.stack.CRDs())
	for _, r := range j.stack.Releases {
		all = append(all, r.Objects()...)
	}
	return append(all, j.renderedObjects()...)
}
