package main

import (
	"github.com/spf13/cobra"
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
			ctx, s, end := a.begin(c.Context())
			defer end()
			job, closeJob, err := a.job(ctx, args[0], o)
			if err != nil {
				return inTime(ctx, err)
			}
			defer closeJob()
			if err := s.run(ctx, job.Prepare()); err != nil {
				return a.rep.End(s.results[0], err)
			}
			return a.rep.Plan(job.Up(ctx))
		},
	}
	o.register(c)
	o.registerWhich(c)
	o.registerPrune(c)
	return c
}
