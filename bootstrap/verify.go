package bootstrap

import (
	"context"
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/probe"
)

// jobCheck asks a Job of spec.verify.
type jobCheck func(ctx context.Context, c config.Check, p plan.Progress) (plan.Outcome, error)

// addChecks appends spec.verify, side by side. ask is what is done about a Job.
func (j *Job) addChecks(p *plan.Plan, ask jobCheck, needs ...plan.ID) []plan.ID {
	var checks []plan.ID
	for i, check := range j.docs.Cluster.Spec.Verify {
		checks = append(checks, p.Add(j.check(i, check, ask), needs...))
	}
	return checks
}

func checkID(i int) plan.ID { return plan.ID(fmt.Sprintf("check/%d", i+1)) }

func (j *Job) check(i int, c config.Check, ask jobCheck) plan.Step {
	timeout := c.Timeout.Or(2 * time.Minute)
	if j.tools.Wait > 0 {
		timeout = min(timeout, j.tools.Wait)
	}
	s := plan.Step{ID: checkID(i), Timeout: timeout}
	if c.HTTP != "" {
		s.Passive = true
		s.Title = fmt.Sprintf("%s answers %d", c.HTTP, probe.Status(c))
		s.Do = func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			return plan.Unchanged, probe.Await(ctx, c, p)
		}
	} else {
		s.Title = fmt.Sprintf("job %s/%s succeeds", c.Namespace, c.Job)
		s.Do = func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			return ask(ctx, c, p)
		}
		s.Look = func(ctx context.Context, _ plan.Progress) (plan.Forecast, error) {
			return j.foreseeJob(ctx, c)
		}
	}
	switch {
	case j.simulated:
		s.Caveats = []string{s.Title}
		s.Do, s.Passive = unproven, true
	case j.tools.Trial && c.HTTP != "" && asksOthers(c.HTTP):
		s.Caveats = []string{s.Title + ": the cluster in use would answer"}
		s.Do = unproven
	}
	return s
}

// unproven is what a step does that cannot be shown here.
func unproven(context.Context, plan.Progress) (plan.Outcome, error) { return plan.Unproven, nil }
