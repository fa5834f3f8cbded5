package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/migrate/poke"
)

// Abandon ends a migration whose source writes: the target stays as it is, held back. A target that is away is given up
// with what was written in it.
func (h *Handover) Abandon() *plan.Plan {
	p := plan.New("give up the migration")
	p.Add(plan.Step{
		ID: "back", Title: "let " + h.o.From + " go on", Timeout: openTimeout, Retries: 2,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if err := volumes.Clear(ctx, h.giver.Client(), p); err != nil { // a killed run's
				return "", err
			}
			if err := h.isWhole(ctx); err != nil {
				return "", err
			}
			outcome, err := fence.New(h.giver.Client()).Lift(ctx, h.record.ID, p)
			if err != nil {
				return "", err
			}
			if outcome == plan.Changed {
				poke.Insist(ctx, h.giver.Client(), p)
			}
			if h.receiver.Client() != nil {
				p.Note(fmt.Sprintf("%s is left as it is, held back: rekindle down deletes it, rekindle migrate stage starts again", h.o.To))
			}
			h.record.Epoch++ // a target that is away knows less than this, whatever it was told last
			return outcome, h.note(ctx, RolledBack, h.o.From)
		},
	})
	return p
}

// isWhole refuses to let a fenced giver go on with a part of what came back from the receiver: of a claim, or of its claims
// together. What a pass brought while the receiver was writing is of no single moment; only that of the last one is, which is
// recorded.
func (h *Handover) isWhole(ctx context.Context) error {
	found, err := fence.Find(ctx, h.giver.Client())
	if err != nil || found == nil || !found.Rules.Claims {
		return err
	}
	came, parts, err := cameSince(ctx, h.giver.Client(), h.record, h.giver.Name(), found)
	if err != nil {
		return err
	}
	own := h.ownSets(ctx)
	maps.DeleteFunc(came, func(claim, set string) bool { return !parts[claim] && slices.Contains(own, set) }) // a rebuild brought it back since
	return h.notWhole(came, own)
}

// ownSets are the giver's complete sets, the newest first; none where the repository does not answer.
func (h *Handover) ownSets(ctx context.Context) []string {
	sets, err := h.repository.Sets(ctx)
	if err != nil {
		return nil // whoever asks refuses then, and tells less
	}
	var ids []string
	for _, s := range sets {
		if s.Complete {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// notWhole refuses claims that have something of the receiver, or a part of a set. A set of the giver's own that was begun
// after something came has a part of that, and is not proposed.
func (h *Handover) notWhole(came map[string]string, own []string) error {
	if len(came) == 0 {
		return nil
	}
	first := slices.Min(slices.Collect(maps.Values(came)))
	at := "SET, the last one of " + h.o.From + " before " + first + " that rekindle snapshots shows,"
	if i := slices.IndexFunc(own, func(set string) bool { return set <= first }); i >= 0 {
		at = own[i]
	}
	parts := slices.Sorted(maps.Keys(came))
	return fault.New(fault.Refused, "has only a part of what came back from %s: claims %s", h.o.To, strings.Join(parts, ", ")).
		On("cluster %s", h.o.From).
		WithHint("it stays fenced: rekindle rebuild --at %s --force brings back what it had, while its pods are still refused; then run the same command again", at)
}

// Confirm gives up the giver: it is never opened again. keep tells that it stays, fenced.
func (h *Handover) Confirm(keep bool) *plan.Plan {
	p := plan.New("confirm")
	p.Add(plan.Step{
		ID: "confirm", Title: "give up " + h.o.From, Timeout: openTimeout, Retries: 2,
		Reason: "no rollback after this",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			switch {
			case h.record == nil:
				return "", fault.New(fault.Refused, "no migration from %s to %s is under way", h.o.From, h.o.To)
			case h.record.Phase == Confirmed: // by a run that was killed, maybe before the target knew: the source goes next, and what it knows
				return h.share(ctx, p)
			case h.record.Phase != Switched:
				return "", fault.New(fault.Refused, "is %s: %s is not yet proven to write", h.record.Phase, h.o.To).On("migration %s", h.record.ID).
					WithHint("rekindle migrate cutover comes first")
			}
			if err := h.isStopped(ctx); err != nil {
				return "", err
			}
			if keep {
				p.Note(h.o.From + " stays fenced: " + opens)
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
					p.Note("unreachable")
					return plan.Unchanged, nil
				}
				return plan.Unchanged, tell(ctx, job, p)
			},
		})
	}
	return p
}

func tell(ctx context.Context, job *bootstrap.Job, p plan.Progress) error {
	gated, fenced, err := findBoth(ctx, job.Client())
	if err != nil {
		return err
	}
	switch {
	case fenced != nil && fenced.Rules.Claims:
		p.Note(fmt.Sprintf("fenced since %s by the migration %s (epoch %d): %s writes", fenced.Since.UTC().Format(time.RFC3339), fenced.Migration, fenced.Epoch, fenced.Other))
	case gated != nil:
		p.Note(fmt.Sprintf("standby: the pods of %s are held back", plan.Count(len(gated.Waiting), "claim")))
	default:
		p.Note("it writes")
	}
	return nil
}
