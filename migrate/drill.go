package migrate

import (
	"context"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate/isolate"
)

// Drill is a rebuild whose cluster must not act on the world outside, and of which is told what it proves. It is a
// [bootstrap.State].
type Drill struct {
	*Rebuild
	apps []string
}

// NewDrill makes the plans of the job a drill of the rebuild. The applications of hold, by the labels of their pods, are
// held back beside those that always are.
func NewDrill(job *bootstrap.Job, o RebuildOptions, hold []string) *Drill {
	d := &Drill{Rebuild: NewRebuild(job, o), apps: isolate.Apps(hold...)}
	job.WithState(d)
	return d
}

// Gate holds back what acts on the world outside, and then what waits for its data.
func (d *Drill) Gate(p *plan.Plan, needs ...plan.ID) plan.ID {
	isolated := p.Add(plan.Step{
		ID: "isolate", Title: "keep the cluster from acting on the world outside", Timeout: gateTimeout, Retries: 1,
		Reason: "the cluster that it stands for may be alive",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			return isolate.PutUp(ctx, d.job.Client(), d.apps, p)
		},
	}, needs...)
	if gate := d.Rebuild.Gate(p, isolated); gate != "" {
		return gate
	}
	return isolated
}
