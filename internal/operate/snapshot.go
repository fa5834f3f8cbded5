package operate

import (
	"context"

	"github.com/rekindle-dev/rekindle/migrate"
)

// Snapshot takes a set of the cluster.
func (c *Caller) Snapshot(ctx context.Context, docs *Documents, o Options) error {
	return c.Session(ctx, func(ctx context.Context, s *Session) error {
		s.Name = "snapshot " + o.NameOf(docs.Documents)
		repository, err := c.Repository(ctx, docs, o.NameOf(docs.Documents))
		if err != nil {
			return err
		}
		job, closeJob, err := s.Job(ctx, docs, o)
		if err != nil {
			return err
		}
		defer closeJob()
		snapshot := migrate.NewSnapshot(job, repository)
		defer snapshot.Close()
		if err := s.Run(ctx, snapshot.Look(ctx)); err != nil {
			return err
		}
		return s.Run(ctx, snapshot.Take())
	})
}
