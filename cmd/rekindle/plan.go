package main

import (
	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/operate"
)

func (a *app) planCommand() *cobra.Command {
	var o jobOptions
	c := &cobra.Command{
		Use:   "plan FILE|URL//PATH",
		Short: "Check the documents and print the steps that up would run; change nothing",
		Long: `Check everything that can be checked without changing anything (documents, provider, charts,
repository, keys), and print the steps that up would run, with the reason for each. Equal plans
have equal hashes.`,
		SuggestFor: []string{"validate", "check"},
		GroupID:    "cluster",
		Args:       cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, s, end := a.Begin(c.Context())
			defer end()
			docs, err := a.Load(ctx, args[0])
			if err != nil {
				return err
			}
			job, closeJob, err := s.Job(ctx, docs, o.Options)
			if err != nil {
				return err
			}
			defer closeJob()
			if err := s.Run(ctx, job.Prepare()); err != nil {
				return s.End(operate.InTime(ctx, err))
			}
			return a.rep.Plan(job.Up(ctx))
		},
	}
	o.register(c)
	o.registerWhich(c)
	o.registerPrune(c)
	return c
}
