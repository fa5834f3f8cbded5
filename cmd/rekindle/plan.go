package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/operate"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

func (a *app) planCommand() *cobra.Command {
	var o jobOptions
	c := &cobra.Command{
		Use:   "plan FILE|URL//PATH",
		Short: "Check the documents and print what up would do and change; change nothing",
		Long: `Check everything that can be checked without changing anything (documents, provider, charts,
repository, keys), and print the steps that up would run, with the reason for each. If the cluster
exists, compare it with the documents, and print what each step would create (+), change (~) or
remove (-). plan only reads: it takes no lease, and changes nothing in the cluster. The exit code is
0 whether there is something to change or not; status has 1 for a difference. Equal plans have equal
hashes, whatever the state of the cluster.`,
		Example: `  rekindle plan clusters/prod/cluster.yaml
  rekindle plan clusters/prod/cluster.yaml --prune
  rekindle plan clusters/prod/cluster.yaml -o json | jq -c 'select(.type == "plan") | .effects'`,
		SuggestFor: []string{"validate", "check", "preview"},
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
			up, preview, err := foresee(ctx, s, job)
			if err != nil {
				return s.End(operate.InTime(ctx, err))
			}
			return a.rep.Plan(up, preview)
		},
	}
	o.register(c)
	o.registerWhich(c)
	o.registerPrune(c)
	return c
}

// foresee prepares, makes the plan of up, and finds out what it would do to the cluster as it is.
func foresee(ctx context.Context, s *operate.Session, job *bootstrap.Job) (*plan.Plan, *plan.Preview, error) {
	if err := s.Run(ctx, job.Prepare()); err != nil {
		return nil, nil, err
	}
	up := job.Up(ctx)
	preview := job.Preview(up)
	if err := s.Run(ctx, preview.Seek(ctx)); err != nil {
		return nil, nil, err
	}
	if compare := preview.Compare(); compare != nil {
		if err := s.Run(ctx, compare); err != nil {
			return nil, nil, err
		}
	}
	return up, preview.Result(), nil
}
