package wait

import (
	"context"
	"sync"
	"time"
)

// Patiently bounds a context by a time that runs only while it is quiet: while the channel that quiet gives is closed. A channel
// that is open then, another than before, has it begin anew. The function must be called at the end.
func Patiently(ctx context.Context, quiet func() <-chan struct{}, limit time.Duration) (context.Context, func()) {
	inner, cancel := context.WithCancel(ctx)
	late := &lateContext{Context: ctx, done: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		defer cancel()
		late.end(await(inner, quiet, limit))
	})
	return late, func() { cancel(); running.Wait() }
}

// await returns why the context is over: its own end, or that the time has run out.
func await(ctx context.Context, quiet func() <-chan struct{}, limit time.Duration) error {
	for {
		select {
		case <-quiet():
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := Sleep(ctx, limit); err != nil {
			return err
		}
		select {
		case <-quiet():
			return context.DeadlineExceeded
		default: // something has begun meanwhile
		}
	}
}

// lateContext is one whose deadline is not known from the beginning. Its channel is its own: contexts that are made of it take
// their error from it, and not from the one that it bounds, only when it has another channel than that.
type lateContext struct {
	context.Context
	done chan struct{}
	err  error // set before done is closed
}

func (c *lateContext) end(err error) {
	c.err = err
	close(c.done)
}

// Done is closed when the time has run out, or the context has ended that it bounds.
func (c *lateContext) Done() <-chan struct{} { return c.done }

// Err tells a deadline from a cancellation.
func (c *lateContext) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}
