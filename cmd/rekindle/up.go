package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) upCommand() *cobra.Command {
	var o jobOptions
	c := &cobra.Command{
		Use:   "up FILE|URL//PATH",
		Short: "Create or update a cluster and verify it",
		Long: `Create the cluster that the document declares, install its Helm releases and its reconciler,
point the reconciler at the repository, and verify the result. You can kill up at any point and
run it again; a second run changes nothing. Releases and keys that up installed for earlier
documents, and that are no longer declared, stay and are listed; --prune removes them.`,
		Example: `  rekindle up clusters/prod/cluster.yaml
  rekindle up https://git.example.com/acme/ops.git//clusters/prod/cluster.yaml
  rekindle up clusters/prod/cluster.yaml -o json --report up.html`,
		SuggestFor: []string{"apply", "create"},
		GroupID:    "cluster",
		Args:       cobra.ExactArgs(1),
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
	c.Flags().BoolVar(&o.use, "use", false, "make the cluster's context the current context")
	return c
}
