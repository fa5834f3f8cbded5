package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/operate"
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
			return a.work(c.Context(), args[0], o, func(ctx context.Context, s *operate.Session, job *bootstrap.Job) error {
				return s.Up(ctx, job)
			})
		},
	}
	o.register(c)
	o.registerWhich(c)
	o.registerPrune(c)
	c.Flags().BoolVar(&o.Use, "use", false, "make the cluster's context the current context")
	return c
}
