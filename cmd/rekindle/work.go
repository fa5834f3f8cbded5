package main

import (
	"context"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/operate"
)

// work reads the documents and lets do its work with a job for them, as one run.
func (a *app) work(ctx context.Context, arg string, o jobOptions, do func(ctx context.Context, s *operate.Session, job *bootstrap.Job) error) error {
	docs, err := a.Load(ctx, arg)
	if err != nil {
		return err
	}
	return a.Work(ctx, docs, o.Options, do)
}
