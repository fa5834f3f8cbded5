package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// parallel is how many steps run at the same time.
const parallel = 16

// session runs plans one after another and tells them as one run.
type session struct {
	app     *app
	name    string // of the whole, where it is not that of its last plan
	waiting int    // steps that mostly wait for others: they keep none of these from running
	results []*engine.Result
	stop    context.CancelCauseFunc // ends the context of the session
	held    context.Context         // done, with the reason, when a lease that the session held was lost
}

// run executes the plan. Its error is in the report of the session; a plan is run only if all before
// it succeeded.
func (s *session) run(ctx context.Context, p *plan.Plan) error {
	ctx, end := s.whileHeld(ctx)
	defer end()
	s.app.rep.Begin(p)
	result := engine.Run(ctx, p, engine.Options{Emit: s.app.rep.Event, Parallel: parallel + s.waiting})
	s.results = append(s.results, result)
	return result.Err
}

// hold begins anew with leases: what was lost before is no matter of what comes now, which takes the lease itself.
func (s *session) hold() {
	held, lose := context.WithCancelCause(context.Background())
	s.held, s.app.lost = held, func(why error) {
		s.stop(why)
		lose(why)
	}
}

// whileHeld ends a context, also one that outlives that of the session, when a lease is lost.
func (s *session) whileHeld(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	held := s.held
	if held.Err() != nil { // before anything begins
		cancel(context.Cause(held))
	}
	stop := context.AfterFunc(held, func() { cancel(context.Cause(held)) })
	return ctx, func() { stop(); cancel(nil) }
}

// each runs plans one after another, each made when the one before has come to its end, until one fails.
func (s *session) each(ctx context.Context, plans ...func() *plan.Plan) error {
	for _, next := range plans {
		if err := s.run(ctx, next()); err != nil {
			return err
		}
	}
	return nil
}

// session opens a run with the global time limit, lets do its work in it, and tells the report.
func (a *app) session(ctx context.Context, do func(ctx context.Context, s *session) error) error {
	ctx, s, end := a.begin(ctx)
	defer end()
	err := do(ctx, s)
	err = inTime(ctx, err)
	if len(s.results) == 0 {
		return err
	}
	whole := engine.Join(s.results...)
	if s.name != "" {
		whole.Name = s.name
	}
	return a.rep.End(whole, err)
}

// begin opens a session, and gives the context that bounds it.
func (a *app) begin(ctx context.Context) (context.Context, *session, func()) {
	ctx, cancel := a.limit(ctx)
	ctx, stop := context.WithCancelCause(ctx)
	s := &session{app: a, stop: stop}
	s.hold()
	return ctx, s, func() { stop(nil); cancel() }
}

func (a *app) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, time.Now().Add(a.timeout), timeUp{a.timeout})
}

// timeUp is why the context of a run ended that had a time limit.
type timeUp struct{ after time.Duration }

func (e timeUp) Error() string { return fmt.Sprintf("timed out after --timeout %s", e.after) }
func (e timeUp) Unwrap() error { return context.DeadlineExceeded }

// inTime puts the time limit of a run into an error that is only its consequence.
func inTime(ctx context.Context, err error) error {
	var limit timeUp
	if err == nil || !errors.As(context.Cause(ctx), &limit) || !errors.Is(err, context.DeadlineExceeded) || errors.As(err, new(timeUp)) {
		return err
	}
	return fault.Wrap(err, fault.Failed, "%v", limit).WithHint("raise --timeout")
}
