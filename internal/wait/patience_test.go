package wait_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rekindle-dev/rekindle/internal/wait"
)

// TestPatienceBeginsAnew: what begins while the time runs counts as what was there before.
func TestPatienceBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		busy := make(chan struct{})
		quiet := func() <-chan struct{} {
			mu.Lock()
			defer mu.Unlock()
			return busy
		}
		begun := time.Now()
		ctx, end := wait.Patiently(t.Context(), quiet, time.Minute)
		defer end()
		time.Sleep(time.Hour)
		close(busy)
		time.Sleep(30 * time.Second)
		again := make(chan struct{})
		mu.Lock()
		busy = again
		mu.Unlock()
		time.Sleep(time.Hour)
		close(again)
		<-ctx.Done()
		if took := time.Since(begun); took != 2*time.Hour+90*time.Second || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("it ended after %s: %v", took, ctx.Err())
		}
		ctx, end = wait.Patiently(t.Context(), func() <-chan struct{} { return nil }, time.Minute)
		end()
		if !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("got %v", ctx.Err())
		}
	})
}

// TestWhatIsMadeOfAPatientContextTellsTheDeadline: who works under it makes contexts of its own, and asks these why they ended.
func TestWhatIsMadeOfAPatientContextTellsTheDeadline(t *testing.T) {
	closed := make(chan struct{})
	close(closed)
	why := errors.New("somebody stopped it")
	for name, c := range map[string]struct {
		quiet       <-chan struct{}
		stop        error // the one that is bounded ends so, after a while
		err, reason error
	}{
		"the time is over":     {quiet: closed, err: context.DeadlineExceeded, reason: context.DeadlineExceeded},
		"the other one is":     {stop: why, err: context.Canceled, reason: why},
		"before the time ends": {quiet: closed, stop: why, err: context.Canceled, reason: why},
	} {
		synctest.Test(t, func(t *testing.T) {
			bounded, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			ctx, end := wait.Patiently(bounded, func() <-chan struct{} { return c.quiet }, time.Minute)
			defer end()
			inner, cancel := context.WithTimeout(context.WithValue(ctx, &why, why), time.Hour)
			defer cancel()
			if c.stop != nil {
				time.Sleep(time.Second)
				stop(c.stop)
			}
			<-inner.Done()
			for which, ctx := range map[string]context.Context{"it": ctx, "one made of it": inner} {
				if !errors.Is(ctx.Err(), c.err) || !errors.Is(context.Cause(ctx), c.reason) {
					t.Errorf("%s: %s ended by %v: %v", name, which, ctx.Err(), context.Cause(ctx))
				}
			}
		})
	}
}
