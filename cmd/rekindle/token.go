package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/providers/gke"
)

// tokenCommand is what the kubeconfigs of GKE clusters run. It prints a secret, for client-go to read.
func (a *app) tokenCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "token",
		Short:  "Print a token for GKE clusters, as a kubeconfig's exec plugin does",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			raw, err := gke.ExecCredential(c.Context(), gke.OverrideFrom(os.Getenv))
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(raw)
			return err
		},
	}
}
