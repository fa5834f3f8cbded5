package migrate

import (
	"context"
	"slices"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/migrate/gate"
)

// isStopped proves that nobody writes in the giver.
func (h *Handover) isStopped(ctx context.Context) error {
	c := h.giver.Client()
	found, err := fence.Find(ctx, c)
	switch {
	case err != nil:
		return err
	case found == nil || found.Migration != h.record.ID || !found.Rules.Claims || !found.Rules.Jobs:
		return fault.New(fault.Failed, "the fence is not up: somebody deleted it").On("cluster %s", h.giver.Name()).
			WithHint("nothing was opened; run the same command again")
	}
	if err := fence.New(c).Holds(ctx); err != nil {
		return fault.Wrap(err, fault.Failed, "its fence").On("cluster %s", h.giver.Name())
	}
	rules := found.Rules
	rules.JobPods = &fence.Except{} // also where the fence is one of an earlier build, which did not refuse them
	writers, err := fence.Writers(ctx, c, rules)
	if err != nil {
		return err
	}
	var errs []error
	for i := range writers {
		errs = append(errs, fault.New(fault.Failed, "is still there and may write").On("Pod %s/%s of %s", writers[i].Namespace, writers[i].Name, h.giver.Name()))
	}
	return fault.Join(errs...)
}

// isClosed proves that nothing writes in the receiver, and nothing acts outside: a gate or a fence of this migration holds.
func (h *Handover) isClosed(ctx context.Context) error {
	c := h.receiver.Client()
	gated, fenced, err := findBoth(ctx, c)
	if err != nil {
		return err
	}
	byGate, byFence := heldBy(h.record.ID, gated, fenced)
	if !byGate && !byFence {
		return fault.New(fault.Refused, "is not held back by this migration: what runs there may write").On("cluster %s", h.receiver.Name()).
			WithHint("rekindle migrate stage prepares it")
	}
	rules := fence.Rules{Claims: true, Apps: h.o.Hold}
	if byFence {
		rules = fenced.Rules // which knows what may run all the same
	}
	running, err := fence.Writers(ctx, c, rules)
	if err != nil {
		return err
	}
	var errs []error
	for i := range running {
		pod := &running[i]
		gets := slices.ContainsFunc(pod.Spec.Volumes, mountsOneOf(pod.Namespace, gated))
		if pod.Spec.NodeName != "" && (byFence || gets || h.Holds(pod.Labels)) {
			errs = append(errs, fault.New(fault.Refused, "runs, and mounts a claim that gets its data from %s or acts on external systems", h.giver.Name()).
				On("Pod %s/%s of %s", pod.Namespace, pod.Name, h.receiver.Name()).
				WithHint("rekindle migrate stage ends it, where nothing was stopped yet"))
		}
	}
	return fault.Join(errs...)
}

// findBoth looks for the gate and the fence of a cluster; each is nil without it.
func findBoth(ctx context.Context, c *kube.Client) (*gate.Found, *fence.Found, error) {
	gated, err := gate.Find(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	fenced, err := fence.Find(ctx, c)
	return gated, fenced, err
}

// heldBy says which of the two a migration holds a cluster back with.
func heldBy(migration string, gated *gate.Found, fenced *fence.Found) (byGate, byFence bool) {
	return gated != nil && gated.Set == gate.Migration(migration), fenced != nil && fenced.Migration == migration && fenced.Rules.Claims
}

// GivenUp refuses to give a cluster up that answers and that a migration does not hold back: what writes there would go on writing
// beside the other one.
func GivenUp(ctx context.Context, c *kube.Client, cluster, migration string) error {
	gated, fenced, err := findBoth(ctx, c)
	if err != nil {
		return err
	}
	if byGate, byFence := heldBy(migration, gated, fenced); byGate || byFence {
		return nil
	}
	return fault.New(fault.Refused, "is not lost: it answers, and what runs there may write").On("cluster %s", cluster).
		WithHint("leave out --without-target to bring back what was written in it; to give that up, rekindle down --abandon-migration comes first")
}

// shut ends the pods of the receiver that were there before its gate held them back, as when a run was killed that had just put
// it up, and proves that nothing writes there.
func (h *Handover) shut(ctx context.Context, p plan.Progress) error {
	gated, err := gate.Find(ctx, h.receiver.Client())
	if err != nil {
		return err
	}
	if gated != nil && gated.Set == gate.Migration(h.record.ID) {
		if err := evict(ctx, h.receiver, waitingBehind(gated), true, p); err != nil {
			return err
		}
	}
	return h.isClosed(ctx)
}

// shutSoon is shut while nobody can write: a receiver that does not answer is not waited for.
func (h *Handover) shutSoon(ctx context.Context, p plan.Progress) error {
	if h.receiver.Client() == nil {
		return nil
	}
	soon, cancel := context.WithTimeout(ctx, closedTimeout)
	defer cancel()
	err := h.isClosed(soon)
	switch {
	case err == nil:
		return nil
	case soon.Err() != nil && ctx.Err() == nil:
		return fault.Wrap(err, fault.Failed, "does not answer within %s: whether something writes there is unknown", closedTimeout).On("cluster %s", h.receiver.Name()).
			WithHint("%s stays fenced. When nothing writes in %s: rekindle migrate rollback, with --without-target as long as it does not answer", h.giver.Name(), h.receiver.Name())
	}
	return h.shut(ctx, p)
}
