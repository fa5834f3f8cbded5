package migrate

import (
	"context"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/plan"
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

// CheckTraffic finds out whether requests can be led to the receiver, before anything stops.
func (h *Handover) CheckTraffic() *plan.Plan {
	p := plan.New("check the traffic")
	p.Add(plan.Step{
		ID: "traffic", Title: "requests can be led to " + h.receiver.Name(), Timeout: lookTimeout, Retries: 1,
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			return plan.Unchanged, h.o.Switch.Check(ctx, side(h.giver), side(h.receiver))
		},
	})
	return p
}

// Lead leads requests to the receiver, which was proven.
func (h *Handover) Lead() *plan.Plan {
	p := plan.New("lead requests to " + h.receiver.Name())
	p.Add(plan.Step{
		ID: "traffic", Title: "lead requests to " + h.receiver.Name(),
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			way := h.o.Switch
			way.Migration = h.record.ID
			return plan.Changed, way.To(ctx, side(h.receiver), h.giver.Name(), p)
		},
	})
	return p
}
