package main

import (
	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/operate"
)

// superviseCommand runs the processes of one kwok cluster. The kwok provider starts it, detached.
func (a *app) superviseCommand() *cobra.Command {
	return &cobra.Command{
		Use:    operate.SuperviseCommand + " DIR",
		Short:  "Run the processes of a simulated cluster (started by up, not by hand)",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			_, err := operate.Helper(c.Context(), []string{operate.SuperviseCommand, args[0]}, a.stdout)
			return err
		},
	}
}
