package bootstrap

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rekindle-dev/rekindle/internal/wait"
)

// patient bounds a context by a time that begins to run only when quiet is closed; at once when it is nil. The
// function must be called at the end.
func patient(ctx context.Context, quiet <-chan struct{}, limit time.Duration) (context.Context, func()) {
	if quiet == nil {
		return context.WithTimeout(ctx, limit)
	}
	inner, cancel := context.WithCancel(ctx)
	late := &lateContext{Context: inner}
	var running sync.WaitGroup
	running.Go(func() {
		select {
		case <-quiet:
		case <-inner.Done():
			return
		}
		if wait.Sleep(inner, limit) == nil {
			late.expired.Store(true)
			cancel()
		}
	})
	return late, func() { cancel(); running.Wait() }
}

// lateContext is one whose deadline is not known from the beginning.
type lateContext struct {
	context.Context
	expired atomic.Bool
}

// Err tells a deadline from a cancellation.
func (c *lateContext) Err() error {
	if c.expired.Load() {
		return context.DeadlineExceeded
	}
	return c.Context.Err()
}
