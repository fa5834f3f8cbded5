package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/operate"
	"github.com/rekindle-dev/rekindle/migrate"
	"github.com/rekindle-dev/rekindle/providers/existing"
)

// rebuildOptions are the flags of rebuild.
type rebuildOptions struct {
	jobOptions
	at    string
	force bool
}

func (a *app) rebuildCommand() *cobra.Command {
	var o rebuildOptions
	c := &cobra.Command{
		Use:   "rebuild FILE|URL//PATH",
		Short: "Create a cluster and restore its data from a snapshot set",
		Long: `Create the cluster that the document declares, as up does, and restore what Git cannot hold from
a snapshot set in spec.state.repository: the data of volumes, and the kept objects. Pods that
mount a volume start when its data is restored and verified by reading it back; everything else
starts meanwhile.

You can kill rebuild at any point and run it again: what is restored is not restored twice.
Volumes that have other data are refused without --force, which also fills again, after a
question, what an earlier rebuild from the same set has filled.`,
		Example: `  rekindle rebuild clusters/prod/cluster.yaml
  rekindle rebuild clusters/prod/cluster.yaml --at 2026-11-23T06:00:00Z
  rekindle rebuild clusters/prod/cluster.yaml --as prod-2 --provider kind`,
		GroupID: "cluster",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.rebuild(c.Context(), args[0], o) },
	}
	o.register(c)
	o.registerWhich(c)
	f := c.Flags()
	f.BoolVar(&o.Use, "use", false, "make the cluster's context the current context")
	f.StringVar(&o.at, "at", "", "restore `SET`: a set ID, or a time, for the newest complete set at or before it (default: the newest complete set)")
	f.BoolVar(&o.force, "force", false, "overwrite volumes that have other data")
	return c
}

func (a *app) rebuild(ctx context.Context, arg string, o rebuildOptions) error {
	return a.Session(ctx, func(ctx context.Context, s *operate.Session) error {
		docs, err := a.Load(ctx, arg)
		if err != nil {
			return err
		}
		s.Name = "rebuild " + o.NameOf(docs.Documents)
		repository, err := a.Repository(ctx, docs, "")
		if err != nil {
			return err
		}
		job, closeJob, err := s.Job(ctx, docs, o.Options)
		if err != nil {
			return err
		}
		defer closeJob()
		rebuild := migrate.NewRebuild(job, operate.Restoring(docs.Documents, repository, o.at, o.force))
		defer rebuild.Close()
		if err := s.Run(ctx, job.Prepare()); err != nil {
			return err
		}
		what := ""
		switch {
		case o.force:
			what = "overwrite what the volumes of %s have with the set %s"
		case o.ProviderOf(docs.Documents) == existing.Name:
			what = "restore into %s, which exists and may be in use, the set %s"
		}
		if what != "" {
			if err := a.confirm(ctx, fmt.Sprintf(what, job.Name(), rebuild.Set().ID)); err != nil {
				return err
			}
		}
		s.Waiting = rebuild.Claims()
		if err := s.Run(ctx, job.Up(ctx)); err != nil {
			return err
		}
		if which := o.Flags(); which != "" {
			if a.Trust {
				which += " --" + operate.TrustFlag
			}
			for _, next := range []string{"status", "snapshot", "down"} { // what else is said of the document means another cluster
				a.rep.Message("continue with: rekindle " + next + " " + arg + which)
			}
		}
		return nil
	})
}
