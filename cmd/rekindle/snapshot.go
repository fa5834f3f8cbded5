package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/operate"
	"github.com/rekindle-dev/rekindle/migrate"
)

func (a *app) snapshotCommand() *cobra.Command {
	var o jobOptions
	c := &cobra.Command{
		Use:   "snapshot FILE|URL//PATH",
		Short: "Save the data of volumes and the kept objects as a snapshot set",
		Long: `Take a snapshot set of the cluster and write it to spec.state.repository: the data of every
bound claim, which restic reads next to the volume, and the objects in spec.state.objects. Hooks
in the annotations of Velero (pre.hook.backup.velero.io/command, post.hook...) run before and
after. Claims with the annotation rekindle.dev/snapshot: skip are left out.

A set that lacks something is written and marked incomplete, and the exit code is 1. Incomplete
sets are never restored by default.

With --as, the set belongs to the cluster of that name: snapshots --as lists it, and a document
with that metadata.name restores it.`,
		Example: `  rekindle snapshot clusters/prod/cluster.yaml`,
		GroupID: "cluster",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.snapshot(c.Context(), args[0], o) },
	}
	completeDocument(c)
	o.registerWhich(c)
	c.AddCommand(a.verifySnapshotCommand())
	return c
}

func (a *app) snapshot(ctx context.Context, arg string, o jobOptions) error {
	return a.Session(ctx, func(ctx context.Context, s *operate.Session) error {
		docs, err := a.Load(ctx, arg)
		if err != nil {
			return err
		}
		s.Name = "snapshot " + o.NameOf(docs.Documents)
		repository, err := a.Repository(ctx, docs, o.NameOf(docs.Documents))
		if err != nil {
			return err
		}
		job, closeJob, err := s.Job(ctx, docs, o.Options)
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
