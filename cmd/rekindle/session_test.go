package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// TestALostLeaseStopsTheSession: the plan that runs, and all that come, also such as outlive an interruption. Only what takes
// the lease anew goes on.
func TestALostLeaseStopsTheSession(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	a := newApp(null, null, null)
	defer a.close()
	if err := a.open(); err != nil {
		t.Fatal(err)
	}
	only := func(do plan.Do) *plan.Plan {
		p := plan.New("test")
		p.Add(plan.Step{ID: "only", Title: "only", Do: do})
		return p
	}
	ran := 0
	counts := func(context.Context, plan.Progress) (plan.Outcome, error) {
		ran++
		return plan.Unchanged, nil
	}
	err = a.session(t.Context(), func(ctx context.Context, s *session) error {
		lost := s.run(ctx, only(func(step context.Context, _ plan.Progress) (plan.Outcome, error) {
			go a.lost(fault.Wrap(&kube.LeaseLostError{Holder: "far-away/7/other"}, fault.Failed, "lost").On("cluster dev"))
			<-step.Done()
			return "", step.Err()
		}))
		if ctx.Err() == nil {
			t.Error("the session goes on")
		}
		for _, next := range []context.Context{ctx, context.WithoutCancel(ctx)} {
			if err := s.run(next, only(counts)); fault.Code(err) != fault.ExitFailed {
				t.Errorf("a later plan: %v", err)
			}
		}
		if ran > 0 {
			t.Errorf("%d plans did something after it", ran)
		}
		s.hold()
		if err := s.run(context.WithoutCancel(ctx), only(counts)); err != nil || ran != 1 {
			t.Errorf("with a new lease: %v", err)
		}
		return lost
	})
	if fault.Code(err) != fault.ExitFailed || !strings.Contains(err.Error(), "cluster dev: lost: the run far-away/7/other holds it now") {
		t.Errorf("exit %d: %v", fault.Code(err), err)
	}
}

// TestPlanIsTold: what would be made, without a session that makes it.
func TestPlanIsTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	if err := os.WriteFile(file, []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: bare}\nspec: {provider: {kwok: {}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := call(t, "plan", file); code != fault.ExitProven || !strings.Contains(out, "take the lease of the cluster") {
		t.Errorf("exit code %d with:\n%s", code, out)
	}
}

// TestATimeLimitIsTold: with the step that it ended, or with what was done before there was any.
func TestATimeLimitIsTold(t *testing.T) {
	for name, do := range map[string]func(ctx context.Context, s *session) error{
		"before a plan": func(ctx context.Context, _ *session) error {
			<-ctx.Done()
			return fmt.Errorf("read the folder: %w", ctx.Err())
		},
		"in a plan": func(ctx context.Context, s *session) error {
			p := plan.New("test")
			p.Add(plan.Step{ID: "folder", Title: "read the folder", Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
				<-ctx.Done()
				return "", fmt.Errorf("read the folder: %w", ctx.Err())
			}})
			return s.run(ctx, p)
		},
	} {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		a := newApp(null, null, null)
		a.timeout = time.Millisecond
		if err := a.open(); err != nil {
			t.Fatal(err)
		}
		err = a.session(t.Context(), do)
		text := fault.Text(err)
		for _, want := range []string{"timed out after --timeout 1ms", "read the folder", "raise --timeout"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", name, want, text)
			}
		}
		a.close()
		null.Close()
	}
}

// TestARunThatLostItsLeaseLeavesMovers: those that stand are of the run that has the clusters now.
func TestARunThatLostItsLeaseLeavesMovers(t *testing.T) {
	a := &app{}
	_, s, end := a.begin(t.Context())
	defer end()
	a.lost(errors.New("another run has it"))
	(&migration{app: a, s: s}).dismiss(t.Context(), nil) // without a handover there is nothing to end them by
}
