package rekindle

import (
	"cmp"
	"context"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/operate"
)

// Phase is a part of a migration.
type Phase string

// The phases of a migration.
const (
	PhaseCheck    Phase = "check"    // report what prevents it; change nothing
	PhaseStage    Phase = "stage"    // bring up the target, held back, and copy the data while the source runs
	PhaseCutover  Phase = "cutover"  // stop the writers of the source, copy what changed, compare, and open the target
	PhaseConfirm  Phase = "confirm"  // delete the source, or keep it fenced; no rollback afterwards
	PhaseRollback Phase = "rollback" // return to the source, with what was written in the target
)

// MigrateOptions say how a migration is done. The zero value does what the command does without flags.
type MigrateOptions struct {
	// Passes is the most that copy data while the source runs; default 4.
	Passes int
	// JobsTimeout is how long running Jobs may take to end before anything else is stopped; default 5m.
	JobsTimeout time.Duration
	// MaxDowntime is how long nobody may be able to write before the source gets its writers back; 0 is no limit.
	MaxDowntime time.Duration
	// KeepSource has PhaseConfirm keep the source, fenced, instead of deleting it.
	KeepSource bool
	// WithoutTarget has PhaseRollback give up the target, with all that was written in it.
	WithoutTarget bool
	// WithoutSource has PhaseCutover go on without the source, after all its data was copied.
	WithoutSource bool
	// TrustStaged leaves out reading back all copied data before the writers stop.
	TrustStaged bool
}

// Migrate runs a phase of the migration from the cluster of one document to that of another. It asks nobody: PhaseCutover stops the
// writers of the source, and PhaseConfirm deletes it. A phase that was interrupted goes on when it is called again; [PhaseRollback] is
// possible until [PhaseConfirm]. Of the options those count that say what is told, and Kubeconfig, TrustDocument and Program.
func Migrate(ctx context.Context, from, to string, phase Phase, o Options, m MigrateOptions) (*Report, error) {
	which, known := phase.operation()
	if !known {
		return nil, fault.New(fault.Usage, "a migration has no phase %q", phase)
	}
	return tell(ctx, o, o.caller(), func(c *operate.Caller) error {
		return c.Migrate(ctx, from, to, which, operate.MigrateOptions{
			Passes: cmp.Or(m.Passes, operate.DefaultPasses), JobsTimeout: cmp.Or(m.JobsTimeout, operate.DefaultJobsTimeout),
			MaxDowntime: m.MaxDowntime, KeepSource: m.KeepSource, WithoutTarget: m.WithoutTarget, WithoutSource: m.WithoutSource,
			TrustStaged: m.TrustStaged,
		})
	})
}

func (p Phase) operation() (operate.Phase, bool) {
	switch p {
	case PhaseCheck:
		return operate.CheckPhase, true
	case PhaseStage:
		return operate.StagePhase, true
	case PhaseCutover:
		return operate.CutoverPhase, true
	case PhaseConfirm:
		return operate.ConfirmPhase, true
	case PhaseRollback:
		return operate.RollbackPhase, true
	}
	return 0, false
}

// MigrationReport is what a phase of a migration came to.
type MigrationReport struct {
	ID    string `json:"id"`
	From  string `json:"from"`
	To    string `json:"to"`
	Epoch int    `json:"epoch"`  // how often the data was handed over
	Phase string `json:"phase"`  // as both clusters have it recorded
	Write string `json:"writes"` // the cluster that may write; empty while none may

	Passes         []MigrationPass  `json:"passes"`                   // of data, in their order
	StoppedSeconds float64          `json:"stoppedSeconds,omitempty"` // how long nobody could write; 0: nothing was stopped
	Probes         []MigrationProbe `json:"probes"`                   // what users saw meanwhile
	Remains        []string         `json:"remains"`                  // what is left to do
}

// MigrationPass is one time that the data was copied.
type MigrationPass struct {
	Set     string  `json:"set"`
	Bytes   int64   `json:"bytes"` // of the set, of which only what changed was copied
	Files   int64   `json:"files"`
	Seconds float64 `json:"seconds"`
	Stopped bool    `json:"stopped"` // nobody could write meanwhile
}

// MigrationProbe is what became of the requests of one probe of spec.migration.
type MigrationProbe struct {
	Probe         string   `json:"probe"`
	Requests      int64    `json:"requests"`
	Failed        int64    `json:"failed"`
	Slow          int64    `json:"slow"`
	OutageSeconds float64  `json:"outageSeconds"` // the longest
	Lines         []string `json:"lines"`         // the same for a person
}
