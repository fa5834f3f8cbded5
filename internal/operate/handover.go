package operate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/migrate"
	"github.com/rekindle-dev/rekindle/providers"
)

// cutover hands over from the source to the target.
func (m *migration) cutover(ctx context.Context) error {
	if err := m.caller.confirm(ctx, fmt.Sprintf("stop the writers of %s and let %s write", m.from.name(), m.to.name())); err != nil {
		return err
	}
	defer m.watch(ctx)()
	err := m.giveTo(ctx, &m.from, &m.to)
	var opened *openedError
	if !errors.As(err, &opened) || ctx.Err() != nil {
		return err
	}
	m.caller.Tell.Message(fmt.Sprintf("%s does not work as %s did: going back", m.to.name(), m.from.name()))
	m.close()
	if back := m.giveTo(ctx, &m.to, &m.from); back != nil {
		return fault.Join(err, fault.Wrap(back, fault.KindOf(back), "go back").WithHint("rekindle migrate rollback continues it"))
	}
	return err
}

// openedError is a failure after the receiver was opened: the way back carries data.
type openedError struct{ error }

func (e *openedError) Unwrap() error { return e.error }

// giveTo hands the data, and the right to write, over from one cluster to the other, and proves that one.
func (m *migration) giveTo(ctx context.Context, giving, receiving *end) error {
	away := m.o.WithoutSource && giving == &m.from
	giver, _, err := m.job(ctx, giving)
	if err != nil {
		return err
	}
	if !away {
		if err := m.s.Run(ctx, giver.Look(ctx)); err != nil {
			return m.givenUp(ctx, err)
		}
	}
	proof, _, err := m.job(ctx, receiving) // what it will have to be proven by is known before anything stops
	if err != nil {
		return err
	}
	if err := m.s.Run(ctx, proof.Prepare()); err != nil {
		return err
	}
	receiver, closeReceiver, err := m.job(ctx, receiving)
	if err != nil {
		return err
	}
	if err := m.s.Run(ctx, receiver.Prepare()); err != nil {
		return err
	}
	if err := m.s.Run(ctx, receiver.Look(ctx)); err != nil {
		return err
	}
	h := m.handover(ctx, giver, receiver, giving.repository)
	h.Expect(proof.Commit())
	if err := m.s.Each(ctx, h.Agree, h.Share); err != nil {
		return err
	}
	if err := mayGive(h.Record(), giving, receiving, m.from.name()); err != nil {
		return err
	}
	record := h.Record()
	done := record.Towards == receiving.name() && (record.Phase == migrate.Switched || record.Phase == migrate.RolledBack)
	opened := done || record.Towards == receiving.name() && record.Phase == migrate.Opening
	if away && !opened && record.Phase != migrate.Carried {
		return fault.New(fault.Refused, "not all its data is in %s (%s)", receiving.name(), record.Phase).On("cluster %s", giving.name()).
			WithHint("rekindle rebuild creates a cluster from its newest snapshot")
	}
	if !opened && !away {
		if err := m.carry(ctx, h); err != nil {
			return err
		}
	}
	if away && !opened {
		err := m.caller.confirm(ctx, fmt.Sprintf("let %s write with its data of %s ago, when it had all data of %s; whether %s has written since then is unknown",
			receiving.name(), time.Since(record.Since).Round(time.Second), giving.name(), giving.name()))
		if err != nil {
			return err
		}
	}
	if !done {
		if err := m.open(ctx, h, away); err != nil {
			return err
		}
	}
	closeReceiver() // its lease is the proof's now
	proof.ProveAnew()
	if err := m.s.Run(ctx, proof.Up(ctx)); err != nil {
		return &openedError{err}
	}
	h.Proven(proof)
	if !m.stopped.IsZero() {
		m.told.StoppedSeconds, m.stopped = wait.Since(m.stopped).Seconds(), time.Time{}
	}
	if err := m.s.Run(ctx, h.Lead()); err != nil {
		return &openedError{err}
	}
	return m.s.Run(ctx, h.Done())
}

// mayGive refuses a handover that does not follow from what was done before.
func mayGive(r *migrate.Record, giving, receiving *end, from string) error {
	switch {
	case r == nil || r.Phase == migrate.Confirmed:
		return fault.New(fault.Refused, "no migration from %s to %s is under way", giving.name(), receiving.name()).WithHint("start with: rekindle migrate stage")
	case giving.name() == from && r.Phase == migrate.RolledBack:
		return fault.New(fault.Refused, "already rolled back").On("migration %s", r.ID).WithHint("start again with: rekindle migrate stage")
	case giving.name() == from && r.Towards == from && r.Phase != migrate.Staged:
		return fault.New(fault.Refused, "a rollback is in progress (%s)", r.Phase).On("migration %s", r.ID).WithHint("finish it: rekindle migrate rollback")
	}
	return nil
}

// carry stops the giver and brings what changed to the receiver, up to where that may be opened. A failure gives the giver
// back its writers, also those that an earlier run stopped which was killed.
func (m *migration) carry(ctx context.Context, h *migrate.Handover) error {
	within := ctx
	if h.Stopped() {
		var cancel context.CancelFunc
		within, cancel = m.nobodyWrites(ctx)
		defer cancel()
	}
	err := m.s.Run(within, h.CheckAhead())
	if err == nil {
		// A last pass while the giver writes reads everything back. Where an earlier run has put up the fence, that one has done
		// so right before, or was told not to; since then neither side was written to but by movers, which read back what they
		// write. Once more would only make the time longer in which nobody can write.
		err = m.pass(within, h, !m.o.TrustStaged && !h.Stopped())
	}
	if err == nil {
		err = m.s.Run(within, h.Quiet())
	}
	if err != nil && !h.Begun() && h.Record().Phase != migrate.Fencing { // nobody was stopped
		return err
	}
	if err == nil {
		err = m.stop(within, h)
	}
	if err == nil {
		err = m.tooLong()
	}
	if err == nil {
		return nil
	}
	return m.goBack(ctx, h, err)
}

// open lets the receiver write. When that fails before it is recorded that it may, the giver gets back its writers.
func (m *migration) open(ctx context.Context, h *migrate.Handover, away bool) error {
	err := m.s.Run(ctx, h.Open())
	switch {
	case err == nil:
		return nil
	case h.Record().Phase != migrate.Carried:
		return &openedError{err}
	case away: // it stays fenced, and is not to be reached
		return err
	}
	return m.goBack(ctx, h, err)
}

// goBack gives the giver back its writers after a failure, and returns that.
func (m *migration) goBack(ctx context.Context, h *migrate.Handover, err error) error {
	var lost *kube.LeaseLostError
	if errors.As(err, &lost) { // another run has one of the two now, and the way back would go into its work
		return err
	}
	m.caller.Tell.Message("the target was not opened: going back")
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), backTimeout)
	defer cancel()
	back := m.s.Run(after, h.GoBack())
	if !m.stopped.IsZero() {
		m.told.StoppedSeconds, m.stopped = wait.Since(m.stopped).Seconds(), time.Time{}
	}
	return fault.Join(err, back)
}

// nobodyWrites begins the time in which nobody can write. It is bounded by --max-downtime.
func (m *migration) nobodyWrites(ctx context.Context) (context.Context, context.CancelFunc) {
	m.stopped = time.Now()
	if m.o.MaxDowntime <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, m.o.MaxDowntime)
}

// tooLong refuses to open the receiver when nobody could write for longer than --max-downtime: the context that bounds it does not count
// the time in which this machine slept.
func (m *migration) tooLong() error {
	took := wait.Since(m.stopped).Round(time.Second)
	if m.o.MaxDowntime <= 0 || took <= m.o.MaxDowntime {
		return nil
	}
	return fault.New(fault.Failed, "nobody could write for %s, longer than --max-downtime %s: this machine slept meanwhile", took, m.o.MaxDowntime).
		On("cluster %s", m.to.name()).WithHint("keep this machine awake, and run the same command again")
}

// stop is the part of it in which nobody can write.
func (m *migration) stop(ctx context.Context, h *migrate.Handover) error {
	if !h.Stopped() { // else it has begun already
		var cancel context.CancelFunc
		ctx, cancel = m.nobodyWrites(ctx)
		defer cancel()
	}
	if err := m.s.Run(ctx, h.Fence()); err != nil {
		return err
	}
	begun := time.Now()
	if err := m.s.Run(ctx, h.Look()); err != nil {
		return err
	}
	err := m.s.Run(ctx, h.CarryLast())
	if set := h.Set(); set.Complete {
		m.passed(set, begun)
		m.told.Passes[len(m.told.Passes)-1].Stopped = true
	}
	return err
}

// reachTarget connects to the target of a rollback: without it, it is not known what was written there. Nothing was where there is no
// target and the source knows of no migration.
func (m *migration) reachTarget(ctx context.Context, from, to *bootstrap.Job) error {
	err := m.s.Run(ctx, to.Look(ctx))
	if err == nil {
		return nil
	}
	if errors.Is(err, providers.ErrNotFound) {
		h := m.handover(ctx, from, to, m.from.repository)
		if err := m.s.Run(ctx, h.Agree()); err != nil {
			return err
		}
		if h.Record() == nil {
			return m.none()
		}
	}
	return fault.Wrap(err, fault.Refused, "cannot find out what was written in it").On("cluster %s", m.to.name()).
		WithHint("make it reachable, or give up its data with --without-target")
}

// givenUp tells of a cluster that is missing that it was the source, and is so since the migration was confirmed: nobody is to create it
// again. err is what finding it met, and stays where the target does not know better.
func (m *migration) givenUp(ctx context.Context, err error) error {
	if !errors.Is(err, providers.ErrNotFound) {
		return err
	}
	from, to, failed := m.both(ctx)
	if failed != nil || m.s.Run(ctx, to.Find(ctx)) != nil {
		return err
	}
	h := m.handover(ctx, from, to, m.from.repository)
	if failed := m.s.Run(ctx, h.Agree()); failed != nil || h.Record() == nil || h.Record().Phase != migrate.Confirmed {
		return err
	}
	return fault.New(fault.Refused, "is confirmed: %s was given up, and %s has the data", m.from.name(), m.to.name()).On("migration %s", h.Record().ID).
		WithHint("there is no way back; to move again, start with rekindle migrate stage from %s", m.to.name())
}

// none refuses a rollback of nothing.
func (m *migration) none() error {
	return fault.New(fault.Refused, "no migration from %s to %s is under way", m.from.name(), m.to.name())
}

// isLost refuses a rollback without a target that answers and may write. It asks by a job of its own: the target is told nothing.
func (m *migration) isLost(ctx context.Context, migration string) error {
	to, end, err := m.job(ctx, &m.to)
	if err != nil {
		return err
	}
	defer end()
	return m.s.Run(ctx, to.Peek(ctx, "see that nothing writes in "+m.to.name()+", if it answers", func(ctx context.Context, c *kube.Client, _ plan.Progress) error {
		return migrate.GivenUp(ctx, c, m.to.name(), migration)
	}))
}

// rollback goes back to the source, whatever was done.
func (m *migration) rollback(ctx context.Context) error {
	from, closeFrom, err := m.visit(ctx, &m.from)
	if err != nil {
		return m.givenUp(ctx, err)
	}
	to, closeTo, err := m.job(ctx, &m.to)
	if err != nil {
		return err
	}
	if !m.o.WithoutTarget {
		if err := m.reachTarget(ctx, from, to); err != nil {
			return err
		}
	}
	h := m.handover(ctx, from, to, m.from.repository)
	if err := m.s.Each(ctx, h.Agree, h.Share); err != nil {
		return err
	}
	r := h.Record()
	switch {
	case r == nil || r.Phase == migrate.Confirmed:
		return m.none()
	case r.Phase == migrate.RolledBack:
		return nil
	case m.o.WithoutTarget:
		if err := m.isLost(ctx, r.ID); err != nil {
			return err
		}
		if err := m.caller.confirm(ctx, fmt.Sprintf("let %s continue with its own data, without what was written in %s", m.from.name(), m.to.name())); err != nil {
			return err
		}
		return m.s.Run(ctx, h.Abandon())
	case r.Towards == m.from.name() && r.Phase == migrate.Staged:
		return m.s.Run(ctx, h.Abandon())
	case r.Towards == m.to.name() && (r.Phase == migrate.Fencing || r.Phase == migrate.Carried):
		if err := m.s.Run(ctx, h.GoBack()); err != nil {
			return err
		}
		return m.s.Run(ctx, h.Abandon())
	}
	if err := m.caller.confirm(ctx, fmt.Sprintf("stop the writers of %s and go back to %s", m.to.name(), m.from.name())); err != nil {
		return err
	}
	h.Close()
	closeFrom()
	closeTo()
	defer m.watch(ctx)()
	return m.giveTo(ctx, &m.to, &m.from)
}
