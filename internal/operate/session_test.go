package operate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/report"
)

// caller is one whose runs are told to nobody.
func caller(t *testing.T) *Caller {
	t.Helper()
	c := &Caller{Secrets: report.NewRedactor()}
	rep := report.New(io.Discard, io.Discard, report.Options{Redactor: c.Secrets})
	t.Cleanup(rep.Close)
	c.Tell = rep
	return c
}

// only is a plan of one step.
func only(do plan.Do) *plan.Plan {
	p := plan.New("test")
	p.Add(plan.Step{ID: "only", Title: "only", Do: do})
	return p
}

// TestALostLeaseStopsTheSession: the plan that runs, and all that come, also such as outlive an interruption. Only what takes
// the lease anew goes on.
func TestALostLeaseStopsTheSession(t *testing.T) {
	ran := 0
	counts := func(context.Context, plan.Progress) (plan.Outcome, error) {
		ran++
		return plan.Unchanged, nil
	}
	err := caller(t).Session(t.Context(), func(ctx context.Context, s *Session) error {
		told := make(chan struct{})
		lost := s.Run(ctx, only(func(step context.Context, _ plan.Progress) (plan.Outcome, error) {
			go func() {
				defer close(told)
				s.lose(fault.Wrap(&kube.LeaseLostError{Holder: "far-away/7/other"}, fault.Failed, "lost").On("cluster dev"))
			}()
			<-step.Done()
			return "", step.Err()
		}))
		<-told
		if ctx.Err() == nil || s.Lost() == nil {
			t.Error("the session goes on")
		}
		for _, next := range []context.Context{ctx, context.WithoutCancel(ctx)} {
			if err := s.Run(next, only(counts)); fault.Code(err) != fault.ExitFailed {
				t.Errorf("a later plan: %v", err)
			}
		}
		if ran > 0 {
			t.Errorf("%d plans did something after it", ran)
		}
		s.Hold()
		if err := s.Run(context.WithoutCancel(ctx), only(counts)); err != nil || ran != 1 || s.Lost() != nil {
			t.Errorf("with a new lease: %v", err)
		}
		return lost
	})
	if fault.Code(err) != fault.ExitFailed || !strings.Contains(err.Error(), "cluster dev: lost: the run far-away/7/other holds it now") {
		t.Errorf("exit %d: %v", fault.Code(err), err)
	}
}

// TestATimeLimitIsTold: with the step that it ended, or with what was done before there was any.
func TestATimeLimitIsTold(t *testing.T) {
	for name, do := range map[string]func(ctx context.Context, s *Session) error{
		"before a plan": func(ctx context.Context, _ *Session) error {
			<-ctx.Done()
			return fmt.Errorf("read the folder: %w", ctx.Err())
		},
		"in a plan": func(ctx context.Context, s *Session) error {
			return s.Run(ctx, only(func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
				<-ctx.Done()
				return "", fmt.Errorf("read the folder: %w", ctx.Err())
			}))
		},
	} {
		synctest.Test(t, func(t *testing.T) { // the step has begun when the time is over
			ctx, cancel := WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			text := fault.Text(caller(t).Session(ctx, do))
			for _, want := range []string{"timed out after --timeout 1ms", "read the folder", "raise --timeout"} {
				if !strings.Contains(text, want) {
					t.Errorf("%s: no %q in\n%s", name, want, text)
				}
			}
		})
	}
}

// TestASessionWithoutAPlanTellsNothing: its error is told by who began it.
func TestASessionWithoutAPlanTellsNothing(t *testing.T) {
	bad := errors.New("bad")
	if err := caller(t).Session(t.Context(), func(context.Context, *Session) error { return bad }); err != bad { //nolint:errorlint // not marked as told
		t.Errorf("%v", err)
	}
}

// TestARunThatLostItsLeaseLeavesMovers: those that stand are of the run that has the clusters now.
func TestARunThatLostItsLeaseLeavesMovers(t *testing.T) {
	c := caller(t)
	_, s, end := c.Begin(t.Context())
	defer end()
	s.lose(errors.New("another run has it"))
	(&migration{caller: c, s: s}).dismiss(t.Context(), nil) // without a handover there is nothing to end them by
}
