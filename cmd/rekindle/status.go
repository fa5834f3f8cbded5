package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/operate"
)

func (a *app) statusCommand() *cobra.Command {
	var o jobOptions
	c := &cobra.Command{
		Use:   "status FILE|URL//PATH",
		Short: "Compare the live cluster with its documents; exit 0 only if they match",
		Long: `Compare the cluster with its documents and its repository: releases with their charts and
values, keys, the commit that the reconciler has applied, workloads and checks; with spec.state
also the age of the newest complete snapshot set and the state of the schedule. Also find what is
left of earlier documents. Print every difference with its cause. Change nothing.`,
		SuggestFor: []string{"diff"},
		GroupID:    "cluster",
		Args:       cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.work(c.Context(), args[0], o, func(ctx context.Context, s *operate.Session, job *bootstrap.Job) error {
				return s.Status(ctx, job)
			})
		},
	}
	o.register(c)
	o.registerWhich(c)
	return c
}
