package bootstrap

import (
	"context"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Visit begins a plan for a cluster that exists: it finds the cluster and takes its lease, so that no other run changes
// it meanwhile. The context is as in Up. What needs the cluster needs the step whose id it gives.
func (j *Job) Visit(ctx context.Context, p *plan.Plan) plan.ID {
	ctx = j.live(ctx)
	return p.Add(j.takeLease(ctx), p.Add(j.findCluster(ctx)))
}

// Look is a plan that finds a cluster which exists and takes its lease. The context is as in Up.
func (j *Job) Look(ctx context.Context) *plan.Plan {
	p := plan.New("visit " + j.Name())
	j.Visit(ctx, p)
	return p
}

// Find is a plan that finds a cluster which exists, and changes nothing. The context is as in Up.
func (j *Job) Find(ctx context.Context) *plan.Plan {
	ctx = j.live(ctx)
	p := plan.New("find " + j.Name())
	p.Add(j.findCluster(ctx))
	return p
}

// Applied is the commit that the reconciler applied last; empty when it is not known, or there is no reconciler.
func (j *Job) Applied(ctx context.Context) (string, error) {
	if j.follower == nil || j.docs.Cluster.Spec.Source == nil {
		return "", nil
	}
	return j.follower.Applied(ctx, j.client)
}

// Attempted is the commit that the reconciler tried last, also where what it brought is held back and not healthy; empty
// as with Applied.
func (j *Job) Attempted(ctx context.Context) (string, error) {
	if j.follower == nil || j.docs.Cluster.Spec.Source == nil {
		return "", nil
	}
	return j.follower.Attempted(ctx, j.client)
}
