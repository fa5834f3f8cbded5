package kube

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// each calls do for every item, some at a time, and returns all errors at once, in the items' order.
// Once the context is done no further call is begun.
func each[T any](ctx context.Context, items []T, do func(ctx context.Context, i int, item T) error) error {
	errs := make([]error, len(items))
	var group errgroup.Group
	group.SetLimit(parallel)
	for i, item := range items {
		if err := ctx.Err(); err != nil {
			errs[i] = err
			break
		}
		group.Go(func() error {
			errs[i] = do(ctx, i, item)
			return nil
		})
	}
	_ = group.Wait() // errors are in errs: one must not hide another
	return fault.Join(errs...)
}
