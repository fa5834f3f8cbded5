package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) statusCommand() *cobra.Command {
	var o jobOptions
	c := &cobra.Command{
		Use:   "status FILE|URL//PATH",
		Short: "What is, against what should be; exit 0 only if equal",
		Long: `status compares the cluster with its documents and its repository: the releases
with their charts and values, the keys, the reconciler at the wanted commit, the
workloads, the checks; and with spec.state how old the newest complete snapshot set is, and
what is wrong with its schedule; and what is left of what earlier documents declared. It changes
nothing. Every difference is told with its cause.`,
		GroupID: "cluster",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.session(c.Context(), func(ctx context.Context, s *session) error {
				job, closeJob, err := a.job(ctx, args[0], o)
				if err != nil {
					return err
				}
				defer closeJob()
				if err := s.run(ctx, job.Prepare()); err != nil {
					return err
				}
				return s.run(ctx, job.Status(ctx))
			})
		},
	}
	o.register(c)
	o.registerWhich(c)
	return c
}
