package migrate

import (
	"context"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/migrate/poke"
)

// recall records that the receiver may not be opened, before the giver writes again: a record there that all data was carried
// would let it be opened while the giver is away. The receiver learns it first, and the epoch tells which record is the newer.
func (h *Handover) recall(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, closedTimeout)
	defer cancel()
	if h.record.Phase == Carried {
		h.record.Epoch++
	}
	return h.noteIn(ctx, Fencing, h.receiver.Name(), h.receiver, h.giver)
}

// GoBack ends a handover that has not opened the receiver: the giver writes again. What was carried stays where it is.
func (h *Handover) GoBack() *plan.Plan {
	p := plan.New("go back to " + h.giver.Name())
	p.Add(plan.Step{
		ID: "back", Title: "let " + h.giver.Name() + " write again", Timeout: openTimeout, Retries: 2,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if h.record.Towards != h.receiver.Name() {
				return plan.Unchanged, h.note(ctx, h.record.Phase, h.record.Towards) // it failed before anything was begun
			}
			if h.record.Phase == Opening || h.record.Phase == Switched {
				return "", fault.New(fault.Refused, "%s may have written already", h.receiver.Name()).On("migration %s", h.record.ID).
					WithHint("rekindle migrate rollback copies that back")
			}
			if err := h.shutSoon(ctx, p); err != nil {
				return "", err
			}
			if err := h.recall(ctx); err != nil {
				return "", err
			}
			if err := volumes.Dismiss(ctx, h.giver.Client()); err != nil {
				return "", err
			}
			outcome, err := fence.New(h.giver.Client()).Lift(ctx, h.record.ID, p)
			if err != nil {
				return "", err
			}
			poke.Insist(ctx, h.giver.Client(), p)
			if h.giver.Name() == h.o.From {
				return outcome, h.note(ctx, Staged, h.o.From)
			}
			if h.record.Before == Switched {
				return outcome, h.note(ctx, Switched, h.o.To)
			}
			return outcome, h.note(ctx, Opening, h.o.To) // it was never proven, and maybe never opened: cutover goes on with that
		},
	})
	return p
}
