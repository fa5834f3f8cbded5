package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
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
	f.BoolVar(&o.use, "use", false, "make the cluster's context the current context")
	f.StringVar(&o.at, "at", "", "restore `SET`: a set ID, or a time, for the newest complete set at or before it (default: the newest complete set)")
	f.BoolVar(&o.force, "force", false, "overwrite volumes that have other data")
	return c
}

func (a *app) rebuild(ctx context.Context, arg string, o rebuildOptions) error {
	return a.session(ctx, func(ctx context.Context, s *session) error {
		docs, keyDir, err := a.load(ctx, arg)
		if err != nil {
			return err
		}
		s.name = "rebuild " + nameOf(docs, o.jobOptions)
		repository, err := a.repository(ctx, docs, keyDir)
		if err != nil {
			return err
		}
		job, closeJob, err := a.job(ctx, arg, o.jobOptions)
		if err != nil {
			return err
		}
		defer closeJob()
		rebuild := migrate.NewRebuild(job, restoring(docs, repository, o.at, o.force))
		defer rebuild.Close()
		if err := s.run(ctx, job.Prepare()); err != nil {
			return err
		}
		what := ""
		switch {
		case o.force:
			what = "overwrite what the volumes of %s have with the set %s"
		case providerOf(docs, o.jobOptions) == existing.Name:
			what = "restore into %s, which exists and may be in use, the set %s"
		}
		if what != "" {
			if err := a.confirm(ctx, fmt.Sprintf(what, job.Name(), rebuild.Set().ID)); err != nil {
				return err
			}
		}
		s.waiting = rebuild.Claims()
		if err := s.run(ctx, job.Up(ctx)); err != nil {
			return err
		}
		if which := o.which(); which != "" {
			if a.trust {
				which += " --" + trustFlag
			}
			for _, next := range []string{"status", "snapshot", "down"} { // what else is said of the document means another cluster
				a.rep.Message("continue with: rekindle " + next + " " + arg + which)
			}
		}
		return nil
	})
}

// restoring brings back what the documents keep in their repository of state.
func restoring(docs *config.Documents, repository *state.Repository, at string, force bool) migrate.RebuildOptions {
	image := cmp.Or(docs.Cluster.Spec.State.Image, volumes.DefaultImage)
	return migrate.RebuildOptions{
		Sets: repository, At: at, Force: force, PutBack: volumes.PutBack, Images: []string{image},
		Restorer: func(c *kube.Client, access state.Access, set *state.Manifest) migrate.Restorer {
			return &volumes.Mover{Client: c, Access: access, Image: image, Set: set.ID, Cluster: set.Cluster}
		},
	}
}
