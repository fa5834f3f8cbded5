// Package engine runs a plan: parallel within a bound, cancellable, with retries where an error's
// type allows them. It emits events and knows neither Kubernetes nor a terminal.
//
// One goroutine owns the schedule. Steps run in goroutines of their own that only send what
// happened; all state is written in [Run]'s loop. Run returns when every step it started has
// returned, so no goroutine outlives it.
package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// Options of a run. The zero value is usable.
type Options struct {
	Parallel int              // steps running at the same time; 0 is 16
	Emit     func(Event)      // takes events one at a time; may be nil
	Now      func() time.Time // the clock; nil is time.Now

	RetryBase  time.Duration // pause before the first repetition, doubled each time; 0 is one second
	RetryLimit time.Duration // the longest such pause; 0 is 30 seconds
}

// Run executes the plan and returns what became of every step.
//
// A step starts when all its needs have succeeded. When a step fails, those that need it are
// Blocked and everything else goes on. When ctx is cancelled no further step starts, running steps
// are told by their context, and the rest is Cancelled; steps marked Always run all the same, with a
// context that is not cancelled. A cancellation whose cause is a fault is that fault of the run.
func Run(ctx context.Context, p *plan.Plan, o Options) *Result {
	r := newRun(p, o)
	r.result.Start = r.now()
	for r.start(ctx); r.running > 0; r.start(ctx) {
		m := <-r.messages
		if m.settled {
			r.settle(ctx, m)
		} else {
			r.tell(m)
		}
	}
	r.finish(ctx)
	return r.result
}

// message is what a step's goroutine sends to the loop.
type message struct {
	index   int
	update  plan.Update
	retry   time.Duration // with err: tried again after this long
	settled bool
	outcome plan.Outcome
	err     error
}

type run struct {
	o        Options
	now      func() time.Time
	steps    []*plan.Step
	index    map[plan.ID]int
	result   *Result
	running  int
	messages chan message
}

func newRun(p *plan.Plan, o Options) *run {
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	if o.RetryBase <= 0 {
		o.RetryBase = time.Second
	}
	if o.RetryLimit <= 0 {
		o.RetryLimit = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &run{
		o: o, now: o.Now, steps: p.Steps(), index: map[plan.ID]int{},
		result:   &Result{Name: p.Name, PlanHash: p.Hash()},
		messages: make(chan message),
	}
	for i, s := range r.steps {
		r.index[s.ID] = i
		r.result.Steps = append(r.result.Steps, StepResult{
			ID: s.ID, Title: s.Title, Needs: s.Needs(), Caveats: s.Caveats, Phase: Pending,
		})
	}
	return r
}

// start begins every step that can begin, in plan order, as far as the bound allows, and settles
// those that never will.
func (r *run) start(ctx context.Context) {
	for i, s := range r.steps {
		if r.result.Steps[i].Phase != Pending {
			continue
		}
		ready, cause := r.needs(s)
		switch {
		case !ready:
		case s.Always:
			r.launch(context.WithoutCancel(ctx), i)
		case ctx.Err() != nil:
			r.skip(i, Cancelled, "")
		case cause != "":
			r.skip(i, Blocked, cause)
		default:
			r.launch(ctx, i)
		}
	}
}

// needs says whether a step's needs are decided, and which step is to blame when one did not
// succeed. A step that runs Always waits for its needs but does not ask how they ended.
func (r *run) needs(s *plan.Step) (decided bool, cause plan.ID) {
	decided = true
	for _, need := range s.Needs() {
		switch st := &r.result.Steps[r.index[need]]; st.Phase {
		case Succeeded:
		case Failed, Cancelled:
			cause = need
		case Blocked:
			cause = st.Cause
		default:
			decided = false
		}
	}
	if cause != "" && !s.Always {
		return true, cause
	}
	return decided, cause
}

// launch runs one step in a goroutine, unless the bound is reached.
func (r *run) launch(ctx context.Context, i int) {
	if r.running >= r.o.Parallel {
		return
	}
	r.running++
	st := &r.result.Steps[i]
	st.Phase, st.Start = Running, r.now()
	r.emit(Event{Step: st.ID, Phase: Running})
	go r.work(ctx, i)
}

// work runs all tries of one step.
func (r *run) work(ctx context.Context, i int) {
	s := r.steps[i]
	if s.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, s.Timeout, &timeoutError{s.Timeout})
		defer cancel()
	}
	ended := make(chan struct{})
	defer close(ended)
	progress := plan.Progress(func(u plan.Update) {
		select {
		case r.messages <- message{index: i, update: u}:
		case <-ended: // told too late by something the step left behind: nobody listens any more
		}
	})
	for try := 1; ; try++ {
		outcome, err := do(ctx, s, progress)
		if err != nil && try <= s.Retries && fault.IsTransient(err) && ctx.Err() == nil {
			pause := wait.Backoff(try, r.o.RetryBase, r.o.RetryLimit)
			r.messages <- message{index: i, err: err, retry: pause}
			cut := wait.Sleep(ctx, pause)
			if cut == nil {
				continue
			}
			if errors.Is(cut, context.Canceled) { // it might have succeeded yet: this is no failure
				err = fmt.Errorf("%w, before the next try after: %w", cut, err)
			}
		}
		r.messages <- message{index: i, settled: true, outcome: outcome, err: r.explain(ctx, err)}
		return
	}
}

// do calls a step's function and makes a panic in it that step's error.
func do(ctx context.Context, s *plan.Step, p plan.Progress) (outcome plan.Outcome, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fault.Panic(v)
		}
	}()
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return s.Do(ctx, p)
}

// explain puts the step's own time limit into an error that is only its consequence.
func (r *run) explain(ctx context.Context, err error) error {
	var limit *timeoutError
	if err != nil && errors.As(context.Cause(ctx), &limit) && !errors.As(err, &limit) {
		return fmt.Errorf("%w: %w", limit, err)
	}
	return err
}

// timeoutError says that a step used up its time.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string { return fmt.Sprintf("not done within %s", e.after) }
func (e *timeoutError) Unwrap() error { return context.DeadlineExceeded }

// tell records an update or a coming repetition of a running step.
func (r *run) tell(m message) {
	st := &r.result.Steps[m.index]
	if st.Phase != Running {
		return
	}
	ev := Event{Step: st.ID, Phase: Running, Update: m.update, Err: m.err, Retry: m.retry}
	if m.retry > 0 {
		st.Tries++
		m.update.Waiting = "next try: " + m.err.Error()
		ev.Update = m.update
	}
	if m.update.Waiting != "" {
		r.closeWait(st)
		st.Waits = append(st.Waits, Wait{For: m.update.Waiting, Start: r.now()})
	}
	if m.update.Note != "" {
		st.Notes = append(st.Notes, m.update.Note)
	}
	if m.update.Warning != "" {
		st.Warnings = append(st.Warnings, m.update.Warning)
	}
	r.emit(ev)
}

// settle records how a step ended.
func (r *run) settle(ctx context.Context, m message) {
	r.running--
	st := &r.result.Steps[m.index]
	st.Tries++
	st.End = r.now()
	r.closeWait(st)
	switch {
	case m.err == nil:
		st.Phase, st.Outcome = Succeeded, m.outcome
	case ctx.Err() != nil && stopped(m.err):
		st.Phase, st.Err = Cancelled, m.err
	default:
		st.Phase, st.Err = Failed, m.err
	}
	r.emit(Event{Step: st.ID, Phase: st.Phase, Outcome: st.Outcome, Err: m.err})
}

// stopped says whether all that an error tells is that its context was cancelled, whatever it says was being done then.
func stopped(err error) bool {
	var several fault.List // of which one that was cancelled says nothing of the others, also below a fault of its own
	if errors.As(err, &several) {
		return !slices.ContainsFunc(several, func(one error) bool { return !stopped(one) })
	}
	return fault.KindOf(err) == fault.Interrupted || errors.Is(err, context.Canceled)
}

func (r *run) closeWait(st *StepResult) {
	if n := len(st.Waits); n > 0 && st.Waits[n-1].End.IsZero() {
		st.Waits[n-1].End = r.now()
	}
}

// skip settles a step that never started.
func (r *run) skip(i int, phase Phase, cause plan.ID) {
	st := &r.result.Steps[i]
	st.Phase, st.Cause = phase, cause
	r.emit(Event{Step: st.ID, Phase: phase, Cause: cause})
}

// emit hands an event over with its time.
func (r *run) emit(e Event) {
	if r.o.Emit != nil {
		e.Time = r.now()
		r.o.Emit(e)
	}
}

// finish fills in what is known only at the end.
func (r *run) finish(ctx context.Context) {
	r.result.End = r.now()
	r.result.CriticalPath = criticalPath(r.result.Steps)
	var errs []error
	for _, st := range r.result.Steps {
		if st.Phase == Failed {
			errs = append(errs, stepError(st))
		}
	}
	var why *fault.Error
	switch {
	case errors.As(context.Cause(ctx), &why): // also when all steps had come to their end: what they showed may be so no more
		errs = append([]error{why}, errs...)
	case ctx.Err() != nil && (r.unfinished() || len(errs) > 0 && errors.Is(ctx.Err(), context.DeadlineExceeded)):
		errs = append([]error{interrupted(ctx)}, errs...)
	}
	r.result.Err = distinct(errs)
}

func (r *run) unfinished() bool {
	for _, st := range r.result.Steps {
		if st.Phase == Cancelled {
			return true
		}
	}
	return false
}

// interrupted is the fault of a run whose own context ended: by its time limit, or by a person.
func interrupted(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.Wrap(context.Cause(ctx), fault.Failed, "the run's time is up").
			WithHint("run the same command again to continue where it stopped, or raise --timeout")
	}
	return fault.Wrap(ctx.Err(), fault.Interrupted, "interrupted").
		WithHint("run the same command again to continue where it stopped")
}

// stepError names the step in its error, unless the error is a fault that names its object itself.
func stepError(st StepResult) error {
	var errs []error
	for _, one := range fault.All(st.Err) {
		var f *fault.Error
		if errors.As(one, &f) && (f.Object != "" || f.File != "") {
			errs = append(errs, one)
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %w", st.ID, one))
	}
	return fault.Join(errs...)
}
