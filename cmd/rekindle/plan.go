package main

import (
	"github.com/spf13/cobra"
)

func (a *app) planCommand() *cobra.Command {
	var o jobOptions
	c := &cobra.Command{
		Use:   "plan FILE|URL//PATH",
		Short: "What up would do, as a graph with reasons; changes nothing",
		Long: `plan finds out everything that can be known without changing anything (documents,
provider, charts, repository, keys) and prints the steps that up would run. The same
plan has the same hash.`,
		GroupID: "cluster",
		Args:    cobra.ExactArgs(1),
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
