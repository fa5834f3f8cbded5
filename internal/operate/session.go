package operate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// parallel is how many steps run at the same time.
const parallel = 16

// Session runs plans one after another and tells them as one run.
type Session struct {
	Name    string // of the whole, where it is not that of its last plan
	Waiting int    // steps that mostly wait for others: they keep none of these from running

	caller  *Caller
	results []*engine.Result
	stop    context.CancelCauseFunc // ends the context of the session
	base    context.Context         // what the caller's carries, without its end
	held    context.Context         // done, with the reason, when a lease that the session held was lost
	lost    context.CancelCauseFunc // ends held
}

// Session opens a run, lets do its work in it, and tells what became of it.
func (c *Caller) Session(ctx context.Context, do func(ctx context.Context, s *Session) error) error {
	ctx, s, end := c.Begin(ctx)
	defer end()
	return s.End(InTime(ctx, do(ctx, s)))
}

// Work lets do its work with a job for the documents, as one run.
func (c *Caller) Work(ctx context.Context, docs *Documents, o Options, do func(ctx context.Context, s *Session, job *bootstrap.Job) error) error {
	return c.Session(ctx, func(ctx context.Context, s *Session) error {
		job, closeJob, err := s.guarded(ctx, docs, o)
		if err != nil {
			return err
		}
		defer closeJob()
		return do(ctx, s, job)
	})
}

// Begin opens a session, and gives the context that bounds it.
func (c *Caller) Begin(ctx context.Context) (context.Context, *Session, func()) {
	base := context.WithoutCancel(ctx)
	ctx, stop := context.WithCancelCause(ctx)
	s := &Session{caller: c, base: base, stop: stop}
	s.Hold()
	return ctx, s, func() { stop(nil) }
}

// End tells what became of the session's plans, and returns err, or what telling it met beside that. A session without
// any only returns it.
func (s *Session) End(err error) error {
	if len(s.results) == 0 {
		return err
	}
	return s.caller.Tell.End(s.Result(), err)
}

// Result is what became of all plans so far.
func (s *Session) Result() *engine.Result {
	whole := engine.Join(s.results...)
	if s.Name != "" {
		whole.Name = s.Name
	}
	return whole
}

// Run executes the plan. Its error is in the report of the session; a plan is run only if all before
// it succeeded.
func (s *Session) Run(ctx context.Context, p *plan.Plan) error {
	ctx, end := s.whileHeld(ctx)
	defer end()
	s.caller.Tell.Begin(p)
	result := engine.Run(ctx, p, engine.Options{Emit: s.caller.Tell.Event, Parallel: parallel + s.Waiting})
	s.results = append(s.results, result)
	return result.Err
}

// Each runs plans one after another, each made when the one before has come to its end, until one fails.
func (s *Session) Each(ctx context.Context, plans ...func() *plan.Plan) error {
	for _, next := range plans {
		if err := s.Run(ctx, next()); err != nil {
			return err
		}
	}
	return nil
}

// Up finds out what can be known ahead, and makes the cluster.
func (s *Session) Up(ctx context.Context, job *bootstrap.Job) error {
	return s.Each(ctx, job.Prepare, func() *plan.Plan { return job.Up(ctx) })
}

// Status finds out what can be known ahead, and compares the cluster with it.
func (s *Session) Status(ctx context.Context, job *bootstrap.Job) error {
	job.OnlyLook()
	return s.Each(ctx, job.Prepare, func() *plan.Plan { return job.Status(ctx) })
}

// Hold begins anew with leases: what was lost before is no matter of what comes now, which takes the lease itself.
func (s *Session) Hold() { s.held, s.lost = context.WithCancelCause(s.base) }

// Lost says why a lease that the session held was lost; nil while it holds.
func (s *Session) Lost() error { return context.Cause(s.held) }

// lose ends all that the session does: another run has the cluster's lease now. Who sees that it has ended finds the reason.
func (s *Session) lose(why error) {
	s.lost(why)
	s.stop(why)
}

// whileHeld ends a context, also one that outlives that of the session, when a lease is lost.
func (s *Session) whileHeld(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	held := s.held
	if held.Err() != nil { // before anything begins
		cancel(context.Cause(held))
	}
	stop := context.AfterFunc(held, func() { cancel(context.Cause(held)) })
	return ctx, func() { stop(); cancel(nil) }
}

// WithTimeout bounds a context by a time limit that the user gave; 0 is none. What it ends says so, see [InTime].
func WithTimeout(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, time.Now().Add(limit), timeUp{limit})
}

// timeUp is why the context of a run ended that had a time limit.
type timeUp struct{ after time.Duration }

func (e timeUp) Error() string { return fmt.Sprintf("timed out after --timeout %s", e.after) }
func (e timeUp) Unwrap() error { return context.DeadlineExceeded }

// InTime puts the time limit of a run into an error that is only its consequence.
func InTime(ctx context.Context, err error) error {
	var limit timeUp
	if err == nil || !errors.As(context.Cause(ctx), &limit) || !errors.Is(err, context.DeadlineExceeded) || errors.As(err, new(timeUp)) {
		return err
	}
	return fault.Wrap(err, fault.Failed, "%v", limit).WithHint("raise --timeout")
}
