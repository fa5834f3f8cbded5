package operate

import (
	"context"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Foresee finds out what up would do to the cluster as it is, changes nothing, and gives it to tell. Only what fails before that is
// told as a run.
func (c *Caller) Foresee(ctx context.Context, docs *Documents, o Options, tell func(up *plan.Plan, would *plan.Preview) error) error {
	ctx, s, end := c.Begin(ctx)
	defer end()
	job, closeJob, err := s.guarded(ctx, docs, o)
	if err != nil {
		return InTime(ctx, err)
	}
	defer closeJob()
	job.OnlyLook()
	up, preview, err := s.foresee(ctx, job)
	if err != nil {
		return s.End(InTime(ctx, err))
	}
	return tell(up, preview)
}

// foresee prepares, makes the plan of up, and finds out what it would do to the cluster as it is.
func (s *Session) foresee(ctx context.Context, job *bootstrap.Job) (*plan.Plan, *plan.Preview, error) {
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
