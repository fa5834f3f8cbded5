package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/operate"
)

func (a *app) downCommand() *cobra.Command {
	var o jobOptions
	c := &cobra.Command{
		Use:   "down FILE|URL//PATH",
		Short: "Delete a cluster that rekindle created and list anything left behind",
		Long: `Delete the cluster and list what remains of it, with the command that removes each item.
A cluster that rekindle did not create is refused. From an existing cluster
(spec.provider.existing), remove what up installed and keep the cluster. If the cluster does
not exist, succeed, without a question.

A cluster that a migration needs is refused, also with --yes: from the cutover until migrate
confirm or migrate rollback, it may have the only complete data. --abandon-migration removes it
all the same.`,
		SuggestFor: []string{"delete", "destroy"},
		GroupID:    "cluster",
		Args:       cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.work(c.Context(), args[0], o, func(ctx context.Context, s *operate.Session, job *bootstrap.Job) error {
				if !a.yes && !job.IsGone(ctx) {
					if err := a.confirm(ctx, job.WhatGoes()); err != nil {
						return err
					}
				}
				return s.Run(ctx, job.Down(ctx))
			})
		},
	}
	o.register(c)
	o.registerWhich(c)
	c.Flags().BoolVar(&o.AbandonMigration, "abandon-migration", false, "remove the cluster even if a migration needs it, and with it perhaps the only data")
	return c
}
