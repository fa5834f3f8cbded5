package operate

import (
	"context"
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// Defaults of MigrateOptions.
const (
	DefaultPasses      = 4
	DefaultJobsTimeout = 5 * time.Minute
)

// MigrateOptions say how a migration is done. Each phase follows those that are of it.
type MigrateOptions struct {
	Passes        int           // the most that copy data while the source runs
	JobsTimeout   time.Duration // for running Jobs to end before anything else is stopped
	MaxDowntime   time.Duration // after which a target that could not be opened is given up; 0 is no limit
	KeepSource    bool          // fenced, instead of deleting it
	WithoutTarget bool          // it is lost, with all that was written in it
	WithoutSource bool          // it is not reached, after all its data was copied
	TrustStaged   bool          // copied data is not read back before the writers stop
}

// Phase is a part of a migration.
type Phase int

// The phases.
const (
	AllPhases Phase = iota // check, stage, cutover and confirm
	CheckPhase
	StagePhase
	CutoverPhase
	ConfirmPhase
	RollbackPhase
	StatusPhase
)

// run runs the phase.
func (p Phase) run(ctx context.Context, m *migration) error {
	switch p {
	case CheckPhase:
		return m.check(ctx)
	case StagePhase:
		return m.stage(ctx)
	case CutoverPhase:
		return m.cutover(ctx)
	case ConfirmPhase:
		return m.confirm(ctx)
	case RollbackPhase:
		return m.rollback(ctx)
	case StatusPhase:
		return m.status(ctx)
	}
	return m.walk(ctx)
}

// Migrate runs a phase of the migration from the cluster of one document to that of another, or all of them, as one run.
func (c *Caller) Migrate(ctx context.Context, from, to string, phase Phase, o MigrateOptions) error {
	return c.Session(ctx, func(ctx context.Context, s *Session) error {
		m := &migration{caller: c, s: s, o: o}
		var err error
		if m.from.docs, err = c.Load(ctx, from); err != nil {
			return err
		}
		if m.to.docs, err = c.Load(ctx, to); err != nil {
			return err
		}
		s.Name = fmt.Sprintf("migrate %s to %s", m.from.name(), m.to.name())
		if err := m.agree(); err != nil {
			return err
		}
		for _, end := range []*end{&m.from, &m.to} {
			if end.repository, err = c.Repository(ctx, end.docs, ""); err != nil {
				return err
			}
		}
		defer m.report()
		return phase.run(ctx, m)
	})
}

// agree refuses documents that do not go together.
func (m *migration) agree() error {
	var errs []error
	from, to := m.from.docs.Cluster.Spec.State, m.to.docs.Cluster.Spec.State
	for _, end := range []*end{&m.from, &m.to} {
		if end.docs.Cluster.Spec.State == nil {
			errs = append(errs, fault.New(fault.Usage, "spec.state is missing: the data is copied through its repository").At(end.docs.Place("spec")).
				WithHint("declare spec.state.repository and spec.state.password, the same in both documents; docs/snapshots.md shows how"))
		}
	}
	if m.from.name() == m.to.name() {
		errs = append(errs, fault.New(fault.Usage, "metadata.name: both documents declare the cluster %s", m.to.name()).At(m.to.docs.Place("metadata.name")).
			WithHint("give the new cluster a name of its own"))
	}
	if from != nil && to != nil && from.Repository != to.Repository {
		errs = append(errs, fault.New(fault.Usage, "spec.state.repository: %s, but the other document has %s", to.Repository, from.Repository).At(m.to.docs.Place("spec.state.repository")).
			WithHint("both clusters must have the same repository: the data is copied through it"))
	}
	return fault.Join(errs...)
}
