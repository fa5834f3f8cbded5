package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// rehearseTTL is how long a rehearsal's cluster may live when the process that should remove it is killed.
const rehearseTTL = 2 * time.Hour

func (a *app) rehearseCommand() *cobra.Command {
	o := jobOptions{provider: kwok.Name}
	c := &cobra.Command{
		Use:   "rehearse FILE|URL//PATH",
		Short: "The same document on simulated nodes, then away: can this repository be rebuilt?",
		Long: `rehearse runs up of the same document on simulated nodes, under a name of its own, and
removes the cluster again, whatever became of it. It needs no containers. What simulated
nodes can not show (webhooks, aggregated APIs, the content of volumes, checks by HTTP) is
named in the report as not proven. Made for CI: --source-from . tests the checkout.

A rehearsal that is killed leaves its cluster; rekindle gc removes it.`,
		Example: `  rekindle rehearse clusters/prod/cluster.yaml --source-from .`,
		GroupID: "cluster",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.rehearse(c.Context(), args[0], o) },
	}
	o.register(c)
	return c
}

func (a *app) rehearse(ctx context.Context, arg string, o jobOptions) error {
	e, err := a.newEphemeral(ctx, arg, "rehearse", o, rehearseTTL)
	if err != nil {
		return err
	}
	return a.session(ctx, func(ctx context.Context, s *session) error {
		s.name = "rehearse " + e.Cluster
		job, end, err := a.job(ctx, arg, e.options)
		if err != nil {
			return fault.Join(err, e.End())
		}
		defer end()
		upErr := s.up(ctx, job)
		return fault.Join(upErr, s.away(ctx, e, job))
	})
}
