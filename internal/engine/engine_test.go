package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

func ok(context.Context, plan.Progress) (plan.Outcome, error) { return plan.Changed, nil }

func fails(context.Context, plan.Progress) (plan.Outcome, error) {
	return "", errors.New("it broke")
}

func step(id plan.ID, do plan.Do) plan.Step { return plan.Step{ID: id, Title: string(id), Do: do} }

func phases(r *Result) map[plan.ID]Phase {
	m := map[plan.ID]Phase{}
	for _, st := range r.Steps {
		m[st.ID] = st.Phase
	}
	return m
}

func find(t *testing.T, r *Result, id plan.ID) StepResult {
	t.Helper()
	for _, st := range r.Steps {
		if st.ID == id {
			return st
		}
	}
	t.Fatalf("no step %s in the result", id)
	return StepResult{}
}

func TestNeedsAreDoneBefore(t *testing.T) {
	const n = 60
	p := plan.New("random")
	var mu sync.Mutex
	var done []plan.ID
	rng := rand.New(rand.NewPCG(1, 2))
	var ids []plan.ID
	for i := range n {
		id := plan.ID(string(rune('a'+i%26)) + strings.Repeat("x", i/26))
		var needs []plan.ID
		for range rng.IntN(4) {
			if len(ids) > 0 {
				needs = append(needs, ids[rng.IntN(len(ids))])
			}
		}
		p.Add(step(id, func(context.Context, plan.Progress) (plan.Outcome, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, need := range needs {
				if !slices.Contains(done, need) {
					t.Errorf("%s ran before %s", id, need)
				}
			}
			done = append(done, id)
			return plan.Unchanged, nil
		}), needs...)
		ids = append(ids, id)
	}
	r := Run(t.Context(), p, Options{Parallel: 7})
	if r.Err != nil || len(done) != n {
		t.Fatalf("err %v, %d of %d steps ran", r.Err, len(done), n)
	}
}

func TestBoundIsKept(t *testing.T) {
	p := plan.New("bound")
	var running, most atomic.Int32
	gate := make(chan struct{})
	for _, id := range []plan.ID{"a", "b", "c", "d", "e", "f"} {
		p.Add(step(id, func(context.Context, plan.Progress) (plan.Outcome, error) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			<-gate
			running.Add(-1)
			return plan.Changed, nil
		}))
	}
	go func() {
		for range 6 {
			gate <- struct{}{}
		}
	}()
	if r := Run(t.Context(), p, Options{Parallel: 2}); r.Err != nil {
		t.Fatal(r.Err)
	}
	if most.Load() > 2 {
		t.Fatalf("%d steps ran at once, the bound is 2", most.Load())
	}
}

func TestFailureBlocksOnlyWhatNeedsIt(t *testing.T) {
	p := plan.New("failure")
	bad := p.Add(step("bad", fails))
	good := p.Add(step("good", ok))
	mid := p.Add(step("mid", ok), bad)
	p.Add(step("end", ok), mid, good)
	p.Add(step("aside", ok), good)
	r := Run(t.Context(), p, Options{})

	want := map[plan.ID]Phase{"bad": Failed, "good": Succeeded, "mid": Blocked, "end": Blocked, "aside": Succeeded}
	for id, phase := range phases(r) {
		if want[id] != phase {
			t.Errorf("%s is %s, want %s", id, phase, want[id])
		}
	}
	if cause := find(t, r, "end").Cause; cause != "bad" {
		t.Errorf("end is blocked by %q, want the step that really failed", cause)
	}
	if r.Err == nil || strings.Count(r.Err.Error(), "it broke") != 1 {
		t.Errorf("the cause must be told exactly once: %v", r.Err)
	}
}

// Two steps may lack the same; a person has to mend it once.
func TestEqualFaultsAreToldOnce(t *testing.T) {
	p := plan.New("equal")
	lacks := func(object string) plan.Do {
		return func(context.Context, plan.Progress) (plan.Outcome, error) {
			return "", fault.New(fault.Usage, "TOKEN is not set").On("%s", object)
		}
	}
	p.Add(step("keys", lacks("key git")))
	p.Add(step("source", lacks("key git")))
	p.Add(step("other", lacks("key other")))
	r := Run(t.Context(), p, Options{})
	if all := fault.All(r.Err); len(all) != 2 || len(fault.All(Join(r, r).Err)) != 2 {
		t.Errorf("told %d faults: %v", len(all), r.Err)
	}
}

// A step tells what it was doing when it was stopped; that is no failure. What failed beside it is one.
func TestAStepThatSaysWhatItDidWhenItWasCancelled(t *testing.T) {
	for _, also := range []error{nil, errors.New("the disk is full")} {
		ctx, cancel := context.WithCancel(t.Context())
		p := plan.New("cancel")
		p.Add(step("only", func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			cancel()
			<-ctx.Done()
			return "", fault.Wrap(fault.Join(fault.Wrap(ctx.Err(), fault.Failed, "list the claims").On("cluster dev"), also), fault.Failed, "look")
		}))
		r := Run(ctx, p, Options{})
		phase, code := Cancelled, fault.ExitInterrupted
		if also != nil {
			phase, code = Failed, fault.ExitFailed
		}
		if phases(r)["only"] != phase || fault.Code(r.Err) != code {
			t.Errorf("beside %v it is %s, exit %d, want %s, %d: %v", also, phases(r)["only"], fault.Code(r.Err), phase, code, r.Err)
		}
	}
}

func TestCancelledRunChangesNothingFurther(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := plan.New("cancel")
	first := p.Add(step("first", func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
		cancel()
		<-ctx.Done()
		return "", ctx.Err()
	}))
	ran := false
	p.Add(step("second", func(context.Context, plan.Progress) (plan.Outcome, error) {
		ran = true
		return plan.Changed, nil
	}), first)
	cleaned := false
	clean := step("clean", func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
		cleaned = ctx.Err() == nil
		return plan.Changed, nil
	})
	clean.Always = true
	p.Add(clean, first)
	r := Run(ctx, p, Options{})
	if ran || !cleaned {
		t.Errorf("second ran: %v, clean-up ran with a live context: %v", ran, cleaned)
	}
	if got := fault.Code(r.Err); got != fault.ExitInterrupted {
		t.Errorf("exit code %d for %v", got, r.Err)
	}
	if ph := phases(r); ph["first"] != Cancelled || ph["second"] != Cancelled || ph["clean"] != Succeeded {
		t.Errorf("phases %v", ph)
	}
}

// takenError is as the errors of requests whose context was cancelled for a reason: they tell that.
type takenError struct{}

func (takenError) Error() string        { return "another has it" }
func (takenError) Is(target error) bool { return target == context.Canceled }

func TestARunThatIsStoppedForAReasonFailsWithIt(t *testing.T) {
	for name, tells := range map[string]func(context.Context) error{
		"a step that tells the reason": context.Cause,
		"one that tells no reason":     func(ctx context.Context) error { return ctx.Err() },
		"one that was at its end":      func(context.Context) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			p := plan.New("stopped")
			p.Add(step("only", func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
				cancel(fault.Wrap(takenError{}, fault.Failed, "it was lost").On("cluster dev").WithHint("wait for it"))
				<-ctx.Done()
				return plan.Changed, tells(ctx)
			}))
			ran := false
			p.Add(step("next", func(context.Context, plan.Progress) (plan.Outcome, error) {
				ran = true
				return plan.Changed, nil
			}), "only")
			r := Run(ctx, p, Options{})
			if ran || phases(r)["next"] != Cancelled || phases(r)["only"] == Failed {
				t.Errorf("phases %v", phases(r))
			}
			if got := fault.Text(r.Err); got != "error: cluster dev: it was lost: another has it\n  hint: wait for it\n" || fault.Code(r.Err) != fault.ExitFailed {
				t.Errorf("exit %d: %s", fault.Code(r.Err), got)
			}
		})
	}
}

func TestRetryOnlyWhereTheErrorSaysSo(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		tries int32
	}{
		"transient": {fault.New(fault.Failed, "busy").Transient(), 3},
		"final":     {fault.New(fault.Failed, "no"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			var tries atomic.Int32
			s := step("s", func(context.Context, plan.Progress) (plan.Outcome, error) {
				tries.Add(1)
				return "", c.err
			})
			s.Retries = 2
			p := plan.New("retry")
			p.Add(s)
			r := Run(t.Context(), p, Options{RetryBase: time.Millisecond, RetryLimit: time.Millisecond})
			if tries.Load() != c.tries || !errors.Is(r.Err, c.err) {
				t.Errorf("%d tries, want %d; error %v", tries.Load(), c.tries, r.Err)
			}
		})
	}
}

// TestARunThatIsInterruptedBetweenTwoTries has not failed: the next one might have succeeded.
func TestARunThatIsInterruptedBetweenTwoTries(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := step("only", func(context.Context, plan.Progress) (plan.Outcome, error) {
		return "", fault.New(fault.Failed, "busy").Transient()
	})
	s.Retries = 1
	p := plan.New("pause")
	p.Add(s)
	r := Run(ctx, p, Options{RetryBase: time.Hour, RetryLimit: time.Hour, Emit: func(e Event) {
		if e.Retry > 0 {
			cancel()
		}
	}})
	if phases(r)["only"] != Cancelled || fault.Code(r.Err) != fault.ExitInterrupted {
		t.Errorf("%s, exit %d: %v", phases(r)["only"], fault.Code(r.Err), r.Err)
	}
}

func TestStepTimeoutIsNamed(t *testing.T) {
	s := step("slow", func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
		<-ctx.Done()
		return "", ctx.Err()
	})
	s.Timeout = time.Millisecond
	p := plan.New("timeout")
	p.Add(s)
	r := Run(t.Context(), p, Options{})
	if r.Err == nil || !strings.Contains(r.Err.Error(), "not done within 1ms") || fault.Code(r.Err) != fault.ExitFailed {
		t.Errorf("got %v (exit %d)", r.Err, fault.Code(r.Err))
	}
}

func TestPanicIsThatStepsError(t *testing.T) {
	p := plan.New("panic")
	p.Add(step("wild", func(context.Context, plan.Progress) (plan.Outcome, error) { panic("oh") }))
	p.Add(step("calm", ok))
	r := Run(t.Context(), p, Options{})
	if ph := phases(r); ph["wild"] != Failed || ph["calm"] != Succeeded {
		t.Errorf("phases %v", ph)
	}
}

func TestEventsAndWaits(t *testing.T) {
	p := plan.New("events")
	p.Add(step("s", func(_ context.Context, pr plan.Progress) (plan.Outcome, error) {
		pr.Waiting("one")
		pr.Waiting("two")
		pr.Note("a fact")
		pr.Warn("beware")
		pr.Count(1, 2, "images")
		return plan.Adopted, nil
	}))
	var events []Event
	r := Run(t.Context(), p, Options{Emit: func(e Event) { events = append(events, e) }})
	st := find(t, r, "s")
	if len(st.Waits) != 2 || st.Waits[0].End.IsZero() || st.Waits[1].End.IsZero() {
		t.Errorf("waits %+v", st.Waits)
	}
	if len(st.Notes) != 1 || len(st.Warnings) != 1 || st.Outcome != plan.Adopted {
		t.Errorf("result %+v", st)
	}
	if len(events) != 7 || events[0].Phase != Running || events[6].Phase != Succeeded {
		t.Errorf("%d events: %+v", len(events), events)
	}
}

func TestLateProgressDoesNotHang(t *testing.T) {
	p := plan.New("late")
	release, told := make(chan struct{}), make(chan struct{})
	p.Add(step("s", func(_ context.Context, pr plan.Progress) (plan.Outcome, error) {
		go func() {
			defer close(told)
			<-release
			pr.Note("too late")
		}()
		return plan.Changed, nil
	}))
	Run(t.Context(), p, Options{})
	close(release)
	<-told
}

func TestCriticalPath(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(1000+s), 0) }
	steps := []StepResult{
		{ID: "a", Start: at(0), End: at(5)},
		{ID: "b", Start: at(0), End: at(2)},
		{ID: "c", Needs: []plan.ID{"a", "b"}, Start: at(5), End: at(9)},
		{ID: "d", Needs: []plan.ID{"b"}, Start: at(2), End: at(3)},
		{ID: "e", Needs: []plan.ID{"c"}, Phase: Cancelled},
	}
	if got := criticalPath(steps); !slices.Equal(got, []plan.ID{"a", "c"}) {
		t.Errorf("critical path %v", got)
	}
}
