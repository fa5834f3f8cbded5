package bootstrap

import (
	"context"
	"time"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Guard refuses what a plan is about to do to a cluster, for a reason that only the cluster knows. It is asked when the lease is
// held: what it has seen stays so until the run has ended.
type Guard func(ctx context.Context, c *kube.Client, p plan.Progress) error

// Unhold takes away what holds a cluster back, as for a migration, in two parts. Each may find nothing to do.
type Unhold struct {
	// Jobs lets new Jobs run, which an uninstallation may need.
	Jobs func(ctx context.Context, c *kube.Client, p plan.Progress) (plan.Outcome, error)
	// All takes the rest away, when nothing is left that it held back.
	All func(ctx context.Context, c *kube.Client, p plan.Progress) (plan.Outcome, error)
}

const (
	guardID      = "migration"
	guardTimeout = time.Minute
)

// NotHeldBack is the title of the step that asks whether a migration holds the cluster back.
const NotHeldBack = "see that no migration holds the cluster back"

// GuardUp has Up and Standby ask before they change anything in the cluster. A preview of Up asks, too.
func (j *Job) GuardUp(g Guard) { j.mayUp = g }

// GuardDown has Down ask before it removes anything. A cluster that does not answer is removed unasked,
// unless somebody else made it: nothing is removed from that.
func (j *Job) GuardDown(g Guard) { j.mayDown = g }

// UnholdBy has Down hold a cluster back no more that somebody else made, and that stays.
func (j *Job) UnholdBy(u Unhold) { j.unhold = u }

// unholds makes a step of a part of UnholdBy; nil without it.
func (j *Job) unholds(id plan.ID, title string, part func(ctx context.Context, c *kube.Client, p plan.Progress) (plan.Outcome, error)) *plan.Step {
	if part == nil {
		return nil
	}
	s := j.inLent(id, title, func(ctx context.Context, p plan.Progress) (plan.Outcome, error) { return part(ctx, j.client, p) })
	return &s
}

// guardUp asks the guard of Up; nil without one.
func (j *Job) guardUp() *plan.Step {
	if j.mayUp == nil {
		return nil
	}
	return &plan.Step{
		ID: guardID, Title: NotHeldBack, Timeout: guardTimeout, Retries: 2,
		Reason: "what is held back would be waited for in vain",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			return plan.Unchanged, j.mayUp(ctx, j.client, p)
		},
		Look: func(ctx context.Context, p plan.Progress) (plan.Forecast, error) {
			return forecast(nil), j.mayUp(ctx, j.client, p)
		},
	}
}

// guardDown asks the guard of Down; nil without one.
func (j *Job) guardDown() *plan.Step {
	if j.mayDown == nil {
		return nil
	}
	return &plan.Step{
		ID: guardID, Title: "see that no migration needs the cluster", Timeout: guardTimeout, Retries: 2,
		Reason: "it may have the only data",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if j.client == nil || j.silent {
				return plan.Unchanged, nil // it cannot tell, and can be removed all the same
			}
			return plan.Unchanged, j.mayDown(ctx, j.client, p)
		},
	}
}

// Peek is a plan that asks a guard about the cluster, if there is one that answers. It takes no lease and changes nothing. title says
// what is asked. The context is as in Up.
func (j *Job) Peek(ctx context.Context, title string, g Guard) *plan.Plan {
	ctx = j.live(ctx)
	p := plan.New("look at " + j.Name())
	p.Add(plan.Step{
		ID: guardID, Title: title,
		Do: func(step context.Context, p plan.Progress) (plan.Outcome, error) {
			found, err := j.seek(step, ctx)
			switch {
			case err != nil && (found != plan.Unreachable || !bearable(step, err)):
				return "", err
			case found != plan.Exists:
				p.Note(inWords(found))
				return plan.Unchanged, nil
			}
			return plan.Unchanged, g(step, j.client, p)
		},
	})
	return p
}
