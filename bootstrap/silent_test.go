package bootstrap

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestSilence: a process that stood still while it asked is no proof that nobody answers, and neither is one that is to end.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		stoodStill := func(ctx context.Context) error {
			if asked++; asked == 1 {
				time.Sleep(time.Hour)
			}
			return ctx.Err()
		}
		if silent(t.Context(), stoodStill, time.Second) {
			t.Error("it answers when it is asked again")
		}
		began := time.Now()
		never := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		if !silent(t.Context(), never, time.Second) || time.Since(began) > 2*time.Second {
			t.Errorf("it never answers: %s", time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		interrupted := func(context.Context) error { cancel(); return errors.New("interrupted") }
		if silent(ctx, interrupted, time.Second) {
			t.Error("interrupted, it has not looked")
		}
	})
}
