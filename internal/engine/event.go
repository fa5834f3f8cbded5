package engine

import (
	"time"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Phase says where a step is.
type Phase string

// The phases. A step goes from Pending to Running to exactly one of the last four.
const (
	Pending   Phase = "pending"
	Running   Phase = "running"
	Succeeded Phase = "succeeded"
	Failed    Phase = "failed"
	Blocked   Phase = "blocked"   // a need, direct or not, failed: Cause names it
	Cancelled Phase = "cancelled" // the run was cancelled before or while it ran
)

// Event is one thing that happened in a run. The engine emits them one at a time, in order.
type Event struct {
	Time    time.Time
	Step    plan.ID
	Phase   Phase         // Running again with an Update or a Retry while it runs
	Update  plan.Update   // set when the step told something
	Outcome plan.Outcome  // set with Succeeded
	Err     error         // set with Failed, and with Retry
	Retry   time.Duration // set when the step is tried again after this long
	Cause   plan.ID       // set with Blocked: the step that really failed
}

// Wait is a stretch of a step during which it waited for one thing.
type Wait struct {
	For   string
	Start time.Time
	End   time.Time
}

// StepResult is what became of one step.
type StepResult struct {
	ID       plan.ID
	Title    string
	Needs    []plan.ID
	Caveats  []string
	Phase    Phase // one of the last four
	Outcome  plan.Outcome
	Err      error
	Cause    plan.ID // of a blocked step
	Start    time.Time
	End      time.Time
	Waits    []Wait
	Notes    []string
	Warnings []string
	Tries    int
}

// Result is what became of a run.
type Result struct {
	Name         string
	PlanHash     string
	Start        time.Time
	End          time.Time
	Steps        []StepResult // in plan order
	CriticalPath []plan.ID    // the chain of needs that decided the length of the run, first to last
	Err          error        // the faults of the steps that failed themselves; nil only if all succeeded
}
