package migrate

import (
	"context"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/migrate/gate"
)

// Standby says that a cluster is to take over from another one later, and until then nothing in it may write.
type Standby struct {
	Migration string   // its id
	Epoch     int      // of the fence
	From      string   // the cluster that writes
	Hold      []string // applications that act on the world outside
}

// owner is whose gate it is.
func (r *Rebuild) owner() string {
	if r.o.Standby != nil {
		return gate.Migration(r.o.Standby.Migration)
	}
	return r.set.ID
}

// standBy holds back the pods of all claims that move, also of those that have their data already, those of applications
// that act on the world outside, and Jobs. Stateless workloads start, and wait for the others warm.
func (r *Rebuild) standBy(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	c, s := r.job.Client(), r.o.Standby
	record, err := readRecord(ctx, c)
	if err != nil {
		return "", err
	}
	if record != nil && record.ID == s.Migration { // it has had the cluster before: what claims have came from it
		r.o.Force = true
	}
	waiting, err := r.look(ctx, c)
	if err != nil {
		return "", err
	}
	if err := r.ensureClasses(ctx, c); err != nil {
		return "", err
	}
	for at := range waiting {
		waiting[at] = true
	}
	for _, one := range r.set.Claims {
		if one.Skipped == simulated { // there is no data, but who writes counts
			waiting[gate.Claim{Namespace: one.Namespace, Name: one.Name}] = true
		}
	}
	r.gate = gate.New(c)
	gated, err := r.gate.PutUp(ctx, r.owner(), waiting, p)
	if err != nil {
		return "", err
	}
	rules := fence.Rules{Schedules: true, JobPods: &fence.Except{Namespaces: r.job.Namespaces()}, Apps: s.Hold}
	f := fence.New(c)
	fenced, err := f.PutUp(ctx, fence.Mark{Migration: s.Migration, Epoch: s.Epoch, Other: s.From}, rules, p)
	if err != nil {
		return "", err
	}
	if err := evict(ctx, r.job, waiting, r.o.Force, p); err != nil {
		return "", err
	}
	if _, err := f.Clear(ctx, fence.Rules{Apps: s.Hold}, p); err != nil { // those that ran before the fence was up
		return "", err
	}
	if gated == plan.Adopted && fenced == plan.Unchanged {
		gated = plan.Unchanged
	}
	return gated, r.serve(ctx, c)
}
