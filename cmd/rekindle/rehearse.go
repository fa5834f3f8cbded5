package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/operate"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

func (a *app) rehearseCommand() *cobra.Command {
	o := runOptions{jobOptions: jobOptions{operate.Options{Provider: kwok.Name}}}
	c := &cobra.Command{
		Use:   "rehearse FILE|URL//PATH",
		Short: "Bring the cluster up on simulated nodes, then delete it (for CI)",
		Long: `Run up with the same document on simulated nodes, under a temporary name, and delete the cluster,
also after a failure, unless --keep keeps it. No containers are needed. What simulated nodes cannot
show (webhooks, aggregated APIs, the content of volumes, checks by HTTP or Job) is reported as not
proven. In CI, --source-from . tests the checkout.

A killed rehearsal leaves its cluster behind; rekindle gc deletes it.`,
		Example: `  rekindle rehearse clusters/prod/cluster.yaml --source-from .
  rekindle rehearse clusters/prod/cluster.yaml --source-from . --artifacts out`,
		GroupID: "cluster",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.within(c.Context(), args[0], "rehearse", o, func(context.Context, context.Context, *operate.Ephemeral) error { return nil })
		},
	}
	o.register(c)
	registerStay(c, &o.Stay)
	return c
}
