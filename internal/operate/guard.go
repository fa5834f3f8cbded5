package operate

import (
	"context"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate"
)

// guarded makes a job, as Job does, for what is no part of a migration: it keeps off the clusters of one that is under way.
func (s *Session) guarded(ctx context.Context, docs *Documents, o Options) (*bootstrap.Job, func(), error) {
	job, end, err := s.Job(ctx, docs, o)
	if err != nil {
		return nil, nil, err
	}
	if docs.Cluster.Spec.State != nil { // without it there is no migration
		job.GuardUp(func(ctx context.Context, c *kube.Client, _ plan.Progress) error {
			return migrate.HeldBack(ctx, c, job.Name())
		})
	}
	job.GuardDown(func(ctx context.Context, c *kube.Client, p plan.Progress) error {
		err := migrate.Needed(ctx, c, job.Name())
		if err != nil && o.AbandonMigration {
			p.Warn(err.Error())
			return nil
		}
		return err
	})
	job.UnholdBy(migrate.Unhold())
	return job, end, nil
}

// tear is what a rebuild that overwrites data has to know of a migration: see [migrate.Torn].
type tear struct {
	held func(labels map[string]string) bool // nil where the cluster is not torn
}

// look finds out, before anything is asked or overwritten, whether a migration holds the cluster back, and refuses that unless it is
// torn. A cluster that is not there, or does not answer, has nothing to overwrite yet.
func (t *tear) look(ctx context.Context, s *Session, docs *Documents, o Options) error {
	o.SourceFrom = "" // which the rebuild itself serves
	job, end, err := s.Job(ctx, docs, o)
	if err != nil {
		return err
	}
	defer end()
	return s.Run(ctx, job.Peek(ctx, bootstrap.NotHeldBack, t.guard(job)))
}

// guard is that of a rebuild which overwrites data.
func (t *tear) guard(job *bootstrap.Job) bootstrap.Guard {
	return func(ctx context.Context, c *kube.Client, _ plan.Progress) error {
		held, err := migrate.Torn(ctx, c, job.Name())
		if err != nil {
			return err
		}
		if t.held = held; held != nil {
			return nil
		}
		return migrate.HeldBack(ctx, c, job.Name())
	}
}
