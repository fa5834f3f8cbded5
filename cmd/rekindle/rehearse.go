package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/providers/kwok"
)

func (a *app) rehearseCommand() *cobra.Command {
	o := runOptions{jobOptions: jobOptions{provider: kwok.Name}}
	c := &cobra.Command{
		Use:   "rehearse FILE|URL//PATH",
		Short: "The same document on simulated nodes, then away: can this repository be rebuilt?",
		Long: `rehearse runs up of the same document on simulated nodes, under a name of its own, and
removes the cluster again, whatever became of it, unless --keep leaves it. It needs no containers. What simulated
nodes can not show (webhooks, aggregated APIs, the content of volumes, checks by HTTP) is
named in the report as not proven. Made for CI: --source-from . tests the checkout.

A rehearsal that is killed leaves its cluster; rekindle gc removes it.`,
		Example: `  rekindle rehearse clusters/prod/cluster.yaml --source-from .
  rekindle rehearse clusters/prod/cluster.yaml --source-from . --artifacts out`,
		GroupID: "cluster",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.within(c.Context(), args[0], "rehearse", o, func(context.Context, context.Context, *ephemeral) error { return nil })
		},
	}
	o.register(c)
	o.registerStay(c)
	return c
}
