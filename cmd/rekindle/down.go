package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) downCommand() *cobra.Command {
	var o jobOptions
	c := &cobra.Command{
		Use:   "down FILE|URL//PATH",
		Short: "Take it away in reverse order; list whatever is left; refuse what is not ours",
		Long: `down removes the cluster that up made and lists what is left of it, with the command
that removes each. A cluster that rekindle did not make is refused. Of an existing cluster
(spec.provider.existing) what up put into it is removed, and the cluster stays. Down on a
cluster that does not exist succeeds.`,
		GroupID: "cluster",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.session(c.Context(), func(ctx context.Context, s *session) error {
				job, closeJob, err := a.job(ctx, args[0], o)
				if err != nil {
					return err
				}
				defer closeJob()
				if err := a.confirm(ctx, job.WhatGoes()); err != nil {
					return err
				}
				return s.run(ctx, job.Down(ctx))
			})
		},
	}
	o.register(c)
	o.registerWhich(c)
	return c
}
