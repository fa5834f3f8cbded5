package main

import (
	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/operate"
)

// tokenCommand is what the kubeconfigs of GKE clusters run. It prints a secret, for client-go to read.
func (a *app) tokenCommand() *cobra.Command {
	return &cobra.Command{
		Use:    operate.TokenCommand,
		Short:  "Print a token for GKE clusters, as a kubeconfig's exec plugin does",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := operate.Helper(c.Context(), []string{operate.TokenCommand}, a.stdout)
			return err
		},
	}
}
