// Package wait holds conditions that describe themselves, and is the only place that may sleep.
package wait

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Condition is something that becomes true. String says what, in a few words: "API server answers".
// Check looks once. Its detail says what is missing and is shown while it waits. An error ends the
// wait: a Check that may succeed later reports the error as its detail instead.
type Condition interface {
	String() string
	Check(ctx context.Context) (ok bool, detail string, err error)
}

// TimeoutError says that a condition did not become true in time. Running out of time is always an
// error, never a warning.
type TimeoutError struct {
	Condition string
	Detail    string // what was missing at the last look
	After     time.Duration
	Cause     error // context.DeadlineExceeded or context.Canceled, or one of them from a look that it cut off
}

func (e *TimeoutError) Error() string {
	verb := "gave up"
	if errors.Is(e.Cause, context.Canceled) {
		verb = "interrupted"
	}
	s := fmt.Sprintf("%s after %s waiting for: %s", verb, e.After.Round(100*time.Millisecond), e.Condition)
	if e.Detail != "" {
		s += " (" + e.Detail + ")"
	}
	return s
}

// Unwrap gives the context's error.
func (e *TimeoutError) Unwrap() error { return e.Cause }

// Func makes a condition of a function.
func Func(name string, check func(ctx context.Context) (ok bool, detail string, err error)) Condition {
	return fn{name, check}
}

type fn struct {
	name  string
	check func(ctx context.Context) (bool, string, error)
}

func (f fn) String() string                                  { return f.name }
func (f fn) Check(ctx context.Context) (bool, string, error) { return f.check(ctx) }

// Poll looks until the condition holds, with a pause between two looks that grows from a tenth of
// max to max. It is for what cannot be watched; what has a watch is watched (internal/kube).
func Poll(ctx context.Context, c Condition, maxPause time.Duration, p plan.Progress) error {
	start, pause, last, before := time.Now(), max(maxPause/10, 5*time.Millisecond), "", ""
	for {
		ok, detail, err := c.Check(ctx)
		if ctx.Err() != nil && (before != "" || errors.Is(ctx.Err(), context.Canceled)) {
			detail = before // a look that was cut off says less than the one before it, and of an interruption nothing at all
		}
		before = detail
		switch {
		case err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()): // it was cut off, and not what was missing is its error
			return &TimeoutError{Condition: c.String(), Detail: cmp.Or(detail, err.Error()), After: time.Since(start), Cause: err}
		case err != nil:
			return fmt.Errorf("%s: %w", c, err)
		case ok:
			return nil
		}
		if told := Describe(c, detail); told != last {
			p.Waiting(told)
			last = told
		}
		if err := Sleep(ctx, pause); err != nil {
			return &TimeoutError{Condition: c.String(), Detail: detail, After: time.Since(start), Cause: err}
		}
		pause = min(pause*3/2, maxPause)
	}
}

// Describe is "condition (detail)" for a progress line.
func Describe(c Condition, detail string) string {
	if detail == "" {
		return c.String()
	}
	return c.String() + " (" + detail + ")"
}

// Sleep pauses for d or until the context is done, and then returns its error.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Since is the time since t, also that in which this machine slept.
func Since(t time.Time) time.Duration { return Between(t, time.Now()) }

// Between is the time between two moments, also that in which this machine slept: the clock that timers go by stands still then, and
// that on the wall does not.
func Between(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

// Backoff is the pause before try n (1 is the first repetition): base doubled each time, at most limit.
func Backoff(n int, base, limit time.Duration) time.Duration {
	d := base
	for range n - 1 {
		if d *= 2; d >= limit {
			return limit
		}
	}
	return min(d, limit)
}
