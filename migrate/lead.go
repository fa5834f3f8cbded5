package migrate

import (
	"context"
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/probe"
	"github.com/rekindle-dev/rekindle/migrate/traffic"
)

// side is a cluster as traffic sees it.
func side(job *bootstrap.Job) traffic.Side {
	s := traffic.Side{Name: job.Name(), Client: job.Client()}
	if cluster := job.Cluster(); cluster != nil {
		s.Kubeconfig = cluster.Kubeconfig
	}
	return s
}

// CheckAhead finds out, before anything stops, what is only needed after it: whether requests can be led to the receiver,
// and get good answers now; whether that will take snapshots as the giver does; and which commit it has before the branch moves.
func (h *Handover) CheckAhead() *plan.Plan {
	p := plan.New("check what comes after")
	p.Add(plan.Step{
		ID: "traffic", Title: "requests can be led to " + h.receiver.Name(), Timeout: lookTimeout, Retries: 1,
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			return plan.Unchanged, h.o.Switch.Check(ctx, side(h.giver), side(h.receiver))
		},
	})
	if h.commit != "" {
		p.Add(plan.Step{
			ID: "commit", Title: fmt.Sprintf("%s will be proven at %.12s", h.receiver.Name(), h.commit), Timeout: lookTimeout, Retries: 2,
			Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
				return plan.Unchanged, h.startsAt(ctx)
			},
		})
	}
	if h.giver.Name() == h.o.From { // the way back is open also when users get nothing any more
		p.Add(plan.Step{
			ID: "schedule", Title: h.receiver.Name() + " will take snapshots as " + h.giver.Name() + " does", Timeout: lookTimeout,
			Do: func(context.Context, plan.Progress) (plan.Outcome, error) { return plan.Unchanged, h.checkSchedule() },
		})
		if !h.Stopped() { // else they cannot answer
			h.addProbes(p)
		}
	}
	return p
}

// Lead leads requests to the receiver, which was proven, and looks whether they get what they are to get.
func (h *Handover) Lead() *plan.Plan {
	p := plan.New("lead requests to " + h.receiver.Name())
	led := p.Add(plan.Step{
		ID: "traffic", Title: "lead requests to " + h.receiver.Name(),
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			way := h.o.Switch
			way.Migration = h.record.ID
			return plan.Changed, way.To(ctx, side(h.receiver), h.giver.Name(), p)
		},
	})
	if way := h.o.Switch.Traffic; len(way.Exec) > 0 || way.ExternalDNS != nil { // a person takes a while
		h.addProbes(p, led)
	}
	return p
}

// addProbes asks each probe until it gives a good answer.
func (h *Handover) addProbes(p *plan.Plan, needs ...plan.ID) {
	for i, c := range h.o.Switch.Probes {
		p.Add(plan.Step{
			ID: plan.ID(fmt.Sprintf("probe/%d", i+1)), Title: fmt.Sprintf("%s answers %d", c.HTTP, probe.Status(c)), Timeout: c.Timeout.Or(2 * time.Minute),
			Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
				return plan.Unchanged, probe.Await(ctx, c, p)
			},
		}, needs...)
	}
}
