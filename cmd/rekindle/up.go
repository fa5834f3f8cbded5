package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) upCommand() *cobra.Command {
	var o jobOptions
	c := &cobra.Command{
		Use:   "up FILE|URL//PATH",
		Short: "Make it so: provision, stack, reconciler, sync, prove",
		Long: `up makes the cluster that the document declares, installs its stack and its
reconciler, points the reconciler at the repository, and proves the result. It can be
killed at any point and run again; a second run changes nothing. Releases and keys that it
installed for earlier documents, and that these no longer declare, stay and are named; with
--prune they go.`,
		Example: `  rekindle up clusters/prod/cluster.yaml
  rekindle up https://git.example.com/acme/ops.git//clusters/prod/cluster.yaml
  rekindle up clusters/prod/cluster.yaml -o json --report up.html`,
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
				return s.run(ctx, job.Up(ctx))
			})
		},
	}
	o.register(c)
	o.registerWhich(c)
	o.registerPrune(c)
	c.Flags().BoolVar(&o.use, "use", false, "make the cluster's context the current one")
	return c
}
