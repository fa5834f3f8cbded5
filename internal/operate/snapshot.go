package operate

import (
	"context"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate"
)

// Snapshot takes a set of the cluster.
func (c *Caller) Snapshot(ctx context.Context, docs *Documents, o Options) error {
	name := o.NameOf(docs.Documents)
	repository, err := c.Repository(ctx, docs, name)
	if err != nil {
		return err
	}
	return c.Work(ctx, docs, o, func(ctx context.Context, s *Session, job *bootstrap.Job) error {
		s.Name = "snapshot " + name
		snapshot := migrate.NewSnapshot(job, repository)
		defer snapshot.Close()
		return s.Each(ctx, func() *plan.Plan { return snapshot.Look(ctx) }, snapshot.Take)
	})
}
