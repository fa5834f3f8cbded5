package main

import (
	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/marks"
)

func (a *app) snapshotCommand() *cobra.Command {
	var o jobOptions
	c := &cobra.Command{
		Use:   "snapshot FILE|URL//PATH",
		Short: "Save the data of volumes and the kept objects as a snapshot set",
		Long: `Take a snapshot set of the cluster and write it to spec.state.repository: the data of every
bound claim, which restic reads next to the volume, and the objects in spec.state.objects. Hooks
in the annotations of Velero (pre.hook.backup.velero.io/command, post.hook...) run before and
after. Claims with the annotation ` + marks.Snapshot + `: skip are left out.

A set that lacks something is written and marked incomplete, and the exit code is 1. Incomplete
sets are never restored by default.

With --as, the set belongs to the cluster of that name: snapshots --as lists it, and a document
with that metadata.name restores it.`,
		Example: `  rekindle snapshot clusters/prod/cluster.yaml`,
		GroupID: "cluster",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			docs, err := a.Load(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.Snapshot(c.Context(), docs, o.Options)
		},
	}
	completeDocument(c)
	o.registerWhich(c)
	c.AddCommand(a.verifySnapshotCommand())
	return c
}
