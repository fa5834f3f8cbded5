package bootstrap

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/stacks"
)

// releaseSteps are the ids of the steps that install releases.
type releaseSteps struct {
	all        []plan.ID
	admission  []plan.ID // those that bring webhooks which objects of the repository go through
	reconciler plan.ID   // empty without one
	kinds      plan.ID   // the reconciler, if its kinds are there only when it is installed
}

// takeLease keeps a second rekindle away from the same cluster for the time of the run, so that what
// looks half-done really was left behind.
func (j *Job) takeLease(ctx context.Context) plan.Step {
	return plan.Step{
		ID: "lease", Title: "take the lease of the cluster", Timeout: leaseTimeout, Passive: true,
		Do: func(step context.Context, p plan.Progress) (plan.Outcome, error) {
			return plan.Unchanged, j.holdLease(step, ctx, p)
		},
	}
}

// holdLease waits for the lease and holds it until Close, also when ctx ends before: steps that are told to stop may still
// write. Should another run take it all the same, this one is ended: two that change a cluster at once undo what the other does.
func (j *Job) holdLease(step, ctx context.Context, p plan.Progress) error {
	lifetime, end := context.WithCancel(context.WithoutCancel(ctx))
	j.endLease = end
	cluster := j.ref()
	return j.client.HoldLease(step, lifetime, p, j.deleted, func(err error) {
		if j.tools.Lost == nil {
			return
		}
		j.tools.Lost(fault.Wrap(err, fault.Failed, "this run has lost its lease, and stopped").On("cluster %s", cluster).
			WithHint("let that run end, then run the same command again: it continues where this one stopped"))
	})
}

// deleted is the fault of a cluster that another run has deleted while this one waited for its lease.
func (j *Job) deleted(ctx context.Context) error {
	_, err := j.tools.Provider.Find(ctx, j.ref())
	if !errors.Is(err, providers.ErrNotFound) {
		return nil
	}
	return fault.New(fault.Failed, "another run has deleted it while this one waited for its lease").On("cluster %s", j.ref()).
		WithHint("run the same command again")
}

// establishCRDs applies the CRDs of all charts at once, so that no release waits for another's.
func (j *Job) establishCRDs() *plan.Step {
	crds := j.stack.CRDs()
	if len(crds) == 0 {
		return nil
	}
	return &plan.Step{
		ID: "crds", Title: "establish " + plan.Count(len(crds), "CRD") + " of all charts", Timeout: 5 * time.Minute, Retries: 2,
		Look: j.foreseeCRDs,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			changes, err := j.client.EstablishCRDs(ctx, crds, p)
			return kube.Outcome(changes), err
		},
	}
}

// addReleases appends one step for each release, after those of the releases that it needs, and after the keys where its pods may use
// one: without its pull secret a kubelet fails first, and is slow to look again.
func (j *Job) addReleases(p *plan.Plan, keys plan.ID, needs ...plan.ID) releaseSteps {
	var steps releaseSteps
	for _, r := range j.stack.Releases {
		after := append([]plan.ID(nil), needs...)
		if j.hasKeyFor(r) {
			after = append(after, keys)
		}
		for _, name := range r.Needs {
			after = append(after, releaseID(name))
		}
		id := p.Add(j.ensureRelease(r), after...)
		steps.all = append(steps.all, id)
		if r.Admits(j.applied()) {
			steps.admission = append(steps.admission, id)
		}
		if j.follower != nil && r.Name == j.follower.Release().Name {
			steps.reconciler = id
			if r.TemplatesCRDs() {
				steps.kinds = id
			}
		}
	}
	return steps
}

// hasKeyFor says whether a key is where a release is. The reconciler's own are for what it follows.
func (j *Job) hasKeyFor(r *stacks.Release) bool {
	return (j.follower == nil || r.Name != j.follower.Release().Name) &&
		slices.ContainsFunc(j.secrets, func(s keys.Secret) bool { return s.Namespace == r.Namespace })
}

func releaseID(name string) plan.ID { return plan.ID("release/" + name) }

func (j *Job) ensureRelease(r *stacks.Release) plan.Step {
	s := plan.Step{
		ID: releaseID(r.Name), Title: "install " + r.Title(), Timeout: r.Timeout.Duration, Retries: 3,
		Inputs: r.Inputs(), Caveats: r.Caveats(),
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			return r.Ensure(ctx, j.client, j.watcher, p)
		},
		Look: func(ctx context.Context, _ plan.Progress) (plan.Forecast, error) {
			return r.Foresee(ctx, j.client, j.watcher)
		},
	}
	if j.waitsForData() {
		s.Timeout = 0 // it begins to run when the data is there
		s.Do = func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			ctx, cancel := wait.Patiently(ctx, j.state.Quiet, r.Timeout.Duration)
			defer cancel()
			return r.Ensure(ctx, j.client, j.watcher, p)
		}
	}
	return s
}

// addReleaseChecks appends one step for each release that compares and changes nothing.
func (j *Job) addReleaseChecks(p *plan.Plan, needs ...plan.ID) {
	for _, r := range j.stack.Releases {
		p.Add(plan.Step{
			ID: releaseID(r.Name), Title: r.Title() + " is as declared", Timeout: time.Minute, Caveats: r.Caveats(),
			Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
				return plan.Unchanged, r.Check(ctx, j.client, j.watcher, p)
			},
		}, needs...)
	}
}
