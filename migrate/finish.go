package migrate

import (
	"context"
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/migrate/gate"
)

// Abandon ends a migration whose source writes: the target stays as it is, held back. A target that is away is given up
// with what was written in it.
func (h *Handover) Abandon() *plan.Plan {
	p := plan.New("give up the migration")
	p.Add(plan.Step{
		ID: "back", Title: "let " + h.o.From + " go on", Timeout: openTimeout, Retries: 2,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if err := volumes.Dismiss(ctx, h.giver.Client()); err != nil { // a killed run's
				return "", err
			}
			outcome, err := fence.New(h.giver.Client()).Lift(ctx, h.record.ID, p)
			if err != nil {
				return "", err
			}
			if h.receiver.Client() != nil {
				p.Note(fmt.Sprintf("%s is left as it is, held back: rekindle down takes it away, rekindle migrate stage begins again", h.o.To))
			}
			return outcome, h.note(ctx, RolledBack, h.o.From)
		},
	})
	return p
}

// Confirm gives up the giver: it is never opened again. keep tells that it stays, fenced.
func (h *Handover) Confirm(keep bool) *plan.Plan {
	p := plan.New("confirm")
	p.Add(plan.Step{
		ID: "confirm", Title: "give up " + h.o.From, Timeout: openTimeout, Retries: 2,
		Reason: "after this there is no way back",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			switch {
			case h.record == nil:
				return "", fault.New(fault.Refused, "no migration from %s to %s is under way", h.o.From, h.o.To)
			case h.record.Phase == Confirmed:
				return plan.Unchanged, nil
			case h.record.Phase != Switched:
				return "", fault.New(fault.Refused, "it is %s: %s does not write yet, proven", h.record.Phase, h.o.To).On("migration %s", h.record.ID).
					WithHint("rekindle migrate cutover comes first")
			}
			if err := h.isStopped(ctx); err != nil {
				return "", err
			}
			if keep {
				p.Note(fmt.Sprintf("%s stays fenced: kubectl delete validatingadmissionpolicy,validatingadmissionpolicybinding %s opens it, which is yours to answer for", h.o.From, fence.Name))
			}
			return plan.Changed, h.note(ctx, Confirmed, h.o.To)
		},
	})
	return p
}

// Tell says how far the migration is, and what holds which cluster back.
func (h *Handover) Tell() *plan.Plan {
	p := plan.New("tell the migration")
	for _, job := range []*bootstrap.Job{h.giver, h.receiver} {
		p.Add(plan.Step{
			ID: plan.ID("side/" + job.Name()), Title: "what " + job.Name() + " may do", Timeout: recordTimeout, Retries: 2,
			Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
				if job.Client() == nil {
					p.Note("it is away")
					return plan.Unchanged, nil
				}
				return plan.Unchanged, tell(ctx, job, p)
			},
		})
	}
	return p
}

func tell(ctx context.Context, job *bootstrap.Job, p plan.Progress) error {
	fenced, err := fence.Find(ctx, job.Client())
	if err != nil {
		return err
	}
	gated, err := gate.Find(ctx, job.Client())
	if err != nil {
		return err
	}
	switch {
	case fenced != nil && fenced.Rules.Claims:
		p.Note(fmt.Sprintf("fenced since %s by the migration %s (epoch %d): %s writes", fenced.Since.UTC().Format(time.RFC3339), fenced.Migration, fenced.Epoch, fenced.Other))
	case gated != nil:
		p.Note(fmt.Sprintf("it stands by: the pods of %d claims are held back", len(gated.Waiting)))
	default:
		p.Note("it writes")
	}
	return nil
}
