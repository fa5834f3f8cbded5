package wait

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Patiently bounds a context by a time that runs only while it is quiet: while the channel that quiet gives is closed. A channel
// that is open then, another than before, has it begin anew. The function must be called at the end.
func Patiently(ctx context.Context, quiet func() <-chan struct{}, limit time.Duration) (context.Context, func()) {
	inner, cancel := context.WithCancel(ctx)
	late := &lateContext{Context: inner}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-quiet():
			case <-inner.Done():
				return
			}
			if Sleep(inner, limit) != nil {
				return
			}
			select {
			case <-quiet():
				late.expired.Store(true)
				cancel()
				return
			default: // something has begun meanwhile
			}
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
