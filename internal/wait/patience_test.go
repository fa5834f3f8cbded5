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
