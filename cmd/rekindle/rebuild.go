package main

import (
	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/operate"
)

// rebuildOptions are the flags of rebuild.
type rebuildOptions struct {
	jobOptions
	operate.RebuildOptions
}

func (a *app) rebuildCommand() *cobra.Command {
	var o rebuildOptions
	c := &cobra.Command{
		Use:   "rebuild FILE|URL//PATH",
		Short: "Create a cluster and restore its data from a snapshot set",
		Long: `Create the cluster that the document declares, as up does, and restore what Git cannot hold from
a snapshot set in spec.state.repository: the data of volumes, and the kept objects. Pods that
mount a volume start when its data is restored and verified by reading it back; everything else
starts meanwhile.

You can kill rebuild at any point and run it again: what is restored is not restored twice.
Volumes that have other data are refused without --force, which also fills again, after a
question, what an earlier rebuild from the same set has filled.`,
		Example: `  rekindle rebuild clusters/prod/cluster.yaml
  rekindle rebuild clusters/prod/cluster.yaml --at 2026-11-23T06:00:00Z
  rekindle rebuild clusters/prod/cluster.yaml --as prod-2 --provider kind`,
		GroupID: "cluster",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			docs, err := a.Load(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.Rebuild(c.Context(), docs, o.Options, o.RebuildOptions)
		},
	}
	o.register(c)
	o.registerWhich(c)
	f := c.Flags()
	f.BoolVar(&o.Use, "use", false, "make the cluster's context the current context")
	f.StringVar(&o.At, "at", "", "restore `SET`: a set ID, or a time, for the newest complete set at or before it (default: the newest complete set)")
	f.BoolVar(&o.Force, "force", false, "overwrite volumes that have other data")
	return c
}
