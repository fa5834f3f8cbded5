package operate

import (
	"cmp"
	"context"
	"fmt"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate"
	"github.com/rekindle-dev/rekindle/providers/existing"
)

// RebuildOptions say what is restored.
type RebuildOptions struct {
	At    string // the ID of a set, or a time, for the newest complete set at or before it; empty: the newest complete set
	Force bool   // overwrite what volumes have
}

// restoring brings back what documents keep in their state repository.
func restoring(docs *config.Documents, repository *state.Repository, r RebuildOptions) migrate.RebuildOptions {
	image := cmp.Or(docs.Cluster.Spec.State.Image, volumes.DefaultImage)
	return migrate.RebuildOptions{
		Sets: repository, At: r.At, Force: r.Force, PutBack: volumes.PutBack, Images: []string{image},
		Restorer: func(c *kube.Client, access state.Access, set *state.Manifest) migrate.Restorer {
			return &volumes.Mover{Client: c, Access: access, Image: image, Set: set.ID, Cluster: set.Cluster}
		},
	}
}

// Rebuild makes the cluster with the data of a set. It asks before data that may be in use is overwritten.
func (c *Caller) Rebuild(ctx context.Context, docs *Documents, o Options, r RebuildOptions) error {
	repository, err := c.Repository(ctx, docs, "")
	if err != nil {
		return err
	}
	return c.Work(ctx, docs, o, func(ctx context.Context, s *Session, job *bootstrap.Job) error {
		s.Name = "rebuild " + o.NameOf(docs.Documents)
		var torn tear
		if r.Force {
			if err := torn.look(ctx, s, docs, o); err != nil {
				return err
			}
			job.GuardUp(torn.guard(job))
		}
		rebuild := migrate.NewRebuild(job, restoring(docs.Documents, repository, r))
		defer rebuild.Close()
		if err := s.Run(ctx, job.Prepare()); err != nil {
			return err
		}
		what := ""
		switch {
		case r.Force:
			what = "overwrite what the volumes of %s have with the set %s"
		case o.ProviderOf(docs.Documents) == existing.Name:
			what = "restore into %s, which exists and may be in use, the set %s"
		}
		if what != "" {
			if err := c.confirm(ctx, fmt.Sprintf(what, job.Name(), rebuild.Set().ID)); err != nil {
				return err
			}
		}
		s.Waiting = rebuild.Claims()
		if torn.held != nil {
			return c.mend(ctx, s, job, torn.held)
		}
		if err := s.Run(ctx, job.Up(ctx)); err != nil {
			return err
		}
		c.tellNext(docs, o)
		return nil
	})
}

// mend brings back the data of a fenced source that is torn. The pods that its fence refuses are not waited for: a rollback, which
// needs the data, lets them start.
func (c *Caller) mend(ctx context.Context, s *Session, job *bootstrap.Job, held func(labels map[string]string) bool) error {
	if err := s.Run(ctx, job.Standby(ctx, held)); err != nil {
		return err
	}
	c.Tell.Message(job.Name() + " has its data, and is still fenced: continue with rekindle migrate rollback --without-target")
	return nil
}

// tellNext says how other commands mean the same cluster, where the document alone means another one.
func (c *Caller) tellNext(docs *Documents, o Options) {
	which := o.Flags()
	if which == "" {
		return
	}
	if c.Trust {
		which += " --" + TrustFlag
	}
	for _, next := range []string{"status", "snapshot", "down"} {
		c.Tell.Message("continue with: rekindle " + next + " " + docs.Arg + which)
	}
}
