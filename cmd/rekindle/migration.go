package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate"
	"github.com/rekindle-dev/rekindle/migrate/traffic"
)

const (
	smallPass   = 20 * time.Second // a pass that takes less is not followed by another
	backTimeout = 10 * time.Minute // to give the giver back its writers after a failure
)

// end is one of the two clusters of a migration.
type end struct {
	arg, dir   string
	docs       *config.Documents
	repository *state.Repository // the sets of this cluster
}

func (e *end) name() string { return e.docs.Cluster.Metadata.Name }

// migration runs the phases of a migration.
type migration struct {
	app      *app
	s        *session
	o        migrateOptions
	from, to end
	closers  []func()
	stopped  time.Time // when nobody could write any more; zero while somebody can
	told     report.Migration
}

func (m *migration) close() {
	for i := len(m.closers) - 1; i >= 0; i-- {
		m.closers[i]()
	}
	m.closers = nil
}

// job is a new job for a cluster: each is for one plan of those that connect. The migration closes it, or the function.
func (m *migration) job(ctx context.Context, e *end) (*bootstrap.Job, func(), error) {
	job, closeJob, err := m.app.job(ctx, e.arg, jobOptions{})
	if err != nil {
		return nil, nil, err
	}
	m.closers = append(m.closers, closeJob)
	return job, closeJob, nil
}

// visit is a job for a cluster that exists, with its lease.
func (m *migration) visit(ctx context.Context, e *end) (*bootstrap.Job, func(), error) {
	job, closeJob, err := m.job(ctx, e)
	if err != nil {
		return nil, nil, err
	}
	return job, closeJob, m.s.run(ctx, job.Look(ctx))
}

func (m *migration) handover(giver, receiver *bootstrap.Job, sets *state.Repository) *migrate.Handover {
	var hold []string
	for _, e := range []*end{&m.from, &m.to} {
		if spec := e.docs.Cluster.Spec.Migration; spec != nil {
			hold = append(hold, spec.Hold...)
		}
	}
	way := traffic.Switch{Dir: m.to.dir}
	if spec := m.to.docs.Cluster.Spec.Migration; spec != nil {
		way.Traffic, way.Probes = spec.Traffic, spec.Probes
	}
	image := receiver.Documents().Cluster.Spec.State.Image
	h := migrate.NewHandover(giver, receiver, sets, migrate.HandoverOptions{
		From: m.from.name(), To: m.to.name(), Hold: hold, Jobs: m.o.jobs, Switch: way,
		Keep: volumes.Keep, PutBack: volumes.PutBack,
		Restorer: func(c *kube.Client, a state.Access, set, cluster string) migrate.Restorer {
			return &volumes.Mover{Client: c, Access: a, Image: image, Set: set, Cluster: cluster, Changed: true}
		},
	})
	m.closers = append(m.closers, h.Close, func() { m.learn(h.Record()) })
	return h
}

// learn takes what is known of the migration into the report.
func (m *migration) learn(r *migrate.Record) {
	if r == nil {
		return
	}
	m.told.ID, m.told.Epoch, m.told.Phase, m.told.Write = r.ID, r.Epoch, string(r.Phase), r.Writer()
	m.told.Remains = nil
	args := m.from.arg + " " + m.to.arg
	switch r.Phase {
	case migrate.Staged:
		m.told.Remains = []string{"rekindle migrate cutover " + args}
	case migrate.Switched:
		m.told.Remains = []string{"rekindle migrate confirm " + args + ", or rekindle migrate rollback " + args}
	case migrate.Fencing, migrate.Carried, migrate.Opening:
		next := "cutover"
		if r.Towards == m.from.name() {
			next = "rollback"
		}
		m.told.Remains = []string{"rekindle migrate " + next + " " + args + " goes on with it"}
	}
}

// report tells what the run came to.
func (m *migration) report() {
	m.close()
	m.told.From, m.told.To = m.from.name(), m.to.name()
	m.app.rep.Migration(m.told)
}

// watch asks the probes until the function is called, which puts what users saw into the report.
func (m *migration) watch(ctx context.Context) (end func()) {
	spec := m.to.docs.Cluster.Spec.Migration
	if spec == nil || len(spec.Probes) == 0 {
		return func() {}
	}
	prober := traffic.NewProber(spec.Probes, traffic.Rate{})
	prober.Start(ctx)
	return func() {
		seen := prober.Stop()
		for _, r := range seen.Probes {
			m.told.Probes = append(m.told.Probes, report.MigrationProbe{
				Probe: r.Probe, Requests: r.Requests, Failed: r.Failed, Slow: r.Slow, OutageSeconds: r.Outage.Seconds(), Lines: seen.LinesOf(r),
			})
		}
	}
}

// walk goes through all phases, and asks before those that users of the clusters will notice.
func (m *migration) walk(ctx context.Context) error {
	for _, phase := range []struct {
		ask string
		do  func(*migration, context.Context) error
	}{
		{"", (*migration).check},
		{"", (*migration).stage},
		{fmt.Sprintf("stop the writers of %s and let %s write", m.from.name(), m.to.name()), (*migration).cutover},
		{m.givesUp(), (*migration).confirm},
	} {
		if phase.ask != "" {
			if err := m.app.confirm(phase.ask); err != nil {
				return err
			}
		}
		if err := phase.do(m, ctx); err != nil {
			return err
		}
		m.close()
	}
	return nil
}

func (m *migration) givesUp() string {
	if m.o.keepSource {
		return fmt.Sprintf("keep %s fenced for good", m.from.name())
	}
	return "take away " + m.from.name()
}

// check finds what is in the way, without changing anything.
func (m *migration) check(ctx context.Context) error {
	to, _, err := m.job(ctx, &m.to)
	if err != nil {
		return err
	}
	if err := m.s.run(ctx, to.Prepare()); err != nil {
		return err
	}
	from, _, err := m.visit(ctx, &m.from)
	if err != nil {
		return err
	}
	h := m.handover(from, to, m.from.repository)
	if err := m.s.run(ctx, h.Agree()); err != nil {
		return err
	}
	if err := m.s.run(ctx, h.CheckTraffic()); err != nil {
		return err
	}
	return m.s.run(ctx, h.Check())
}

// stage brings up the target and carries the data, until a pass is short or gets no shorter.
func (m *migration) stage(ctx context.Context) error {
	from, _, err := m.job(ctx, &m.from)
	if err != nil {
		return err
	}
	to, _, err := m.job(ctx, &m.to)
	if err != nil {
		return err
	}
	snapshot := migrate.NewSnapshot(from, m.from.repository)
	defer snapshot.Close()
	if err := m.s.run(ctx, snapshot.Look(ctx)); err != nil {
		return err
	}
	h := m.handover(from, to, m.from.repository)
	if err := m.s.run(ctx, h.Agree()); err != nil {
		return err
	}
	if err := m.s.run(ctx, h.Begin()); err != nil {
		return err
	}
	begun := time.Now()
	if err := m.s.run(ctx, snapshot.Take()); err != nil {
		return err
	}
	set := snapshot.Set()
	m.passed(set, begun)
	rebuild := migrate.NewRebuild(to, migrate.RebuildOptions{
		Sets: m.from.repository, At: set.ID, PutBack: volumes.PutBack,
		Standby: &migrate.Standby{Migration: h.Record().ID, Epoch: h.Record().Epoch, From: m.from.name(), Hold: h.Hold()},
		Restorer: func(c *kube.Client, access state.Access, set *state.Manifest) migrate.Restorer {
			return &volumes.Mover{Client: c, Access: access, Image: m.to.docs.Cluster.Spec.State.Image, Set: set.ID, Cluster: set.Cluster}
		},
	})
	defer rebuild.Close()
	if err := m.s.run(ctx, to.Prepare()); err != nil {
		return err
	}
	m.s.waiting = rebuild.Claims()
	if err := m.s.run(ctx, to.Standby(ctx, h.Hold())); err != nil {
		return err
	}
	if err := m.s.run(ctx, h.Begin()); err != nil { // the target knows it too from now on
		return err
	}
	return m.passes(ctx, h)
}

// passes carries the data while the giver writes, until a pass is short or gets no shorter.
func (m *migration) passes(ctx context.Context, h *migrate.Handover) error {
	last := time.Duration(0)
	for range m.o.passes {
		begun := time.Now()
		if err := m.pass(ctx, h); err != nil {
			return err
		}
		took := time.Since(begun)
		m.app.rep.Message(fmt.Sprintf("the last pass took %s: writers will wait about as long, and for what mounts their data to stop and start", took.Round(time.Second)))
		if took < smallPass || last > 0 && took > last*4/5 {
			break
		}
		last = took
	}
	return nil
}

func (m *migration) pass(ctx context.Context, h *migrate.Handover) error {
	begun := time.Now()
	if err := m.s.run(ctx, h.Look()); err != nil {
		return err
	}
	if err := m.s.run(ctx, h.Carry()); err != nil {
		return err
	}
	m.passed(h.Set(), begun)
	return nil
}

// passed takes a pass into the report.
func (m *migration) passed(set state.Manifest, begun time.Time) {
	pass := report.MigrationPass{Set: set.ID, Seconds: time.Since(begun).Seconds()}
	for _, c := range set.Claims {
		pass.Bytes, pass.Files = pass.Bytes+c.Bytes, pass.Files+c.Files
	}
	m.told.Passes = append(m.told.Passes, pass)
}

// cutover hands over from the source to the target.
func (m *migration) cutover(ctx context.Context) error {
	defer m.watch(ctx)()
	err := m.giveTo(ctx, &m.from, &m.to)
	var opened *openedError
	if !errors.As(err, &opened) || ctx.Err() != nil {
		return err
	}
	m.app.rep.Message(fmt.Sprintf("%s does not do what %s did: going back", m.to.name(), m.from.name()))
	m.close()
	if back := m.giveTo(ctx, &m.to, &m.from); back != nil {
		return fault.Join(err, fault.Wrap(back, fault.KindOf(back), "go back").WithHint("rekindle migrate rollback goes on with it"))
	}
	return err
}

// openedError is a failure after the receiver was opened: the way back carries data.
type openedError struct{ error }

func (e *openedError) Unwrap() error { return e.error }

// giveTo hands the data, and the right to write, over from one cluster to the other, and proves that one.
func (m *migration) giveTo(ctx context.Context, giving, receiving *end) error {
	away := m.o.withoutSource && giving == &m.from
	giver, _, err := m.job(ctx, giving)
	if err != nil {
		return err
	}
	if !away {
		if err := m.s.run(ctx, giver.Look(ctx)); err != nil {
			return err
		}
	}
	proof, _, err := m.job(ctx, receiving) // what it will have to be proven by is known before anything stops
	if err != nil {
		return err
	}
	if err := m.s.run(ctx, proof.Prepare()); err != nil {
		return err
	}
	receiver, closeReceiver, err := m.job(ctx, receiving)
	if err != nil {
		return err
	}
	if err := m.s.run(ctx, receiver.Prepare()); err != nil {
		return err
	}
	if err := m.s.run(ctx, receiver.Look(ctx)); err != nil {
		return err
	}
	h := m.handover(giver, receiver, giving.repository)
	if err := m.s.run(ctx, h.Agree()); err != nil {
		return err
	}
	if err := mayGive(h.Record(), giving, receiving, m.from.name()); err != nil {
		return err
	}
	record := h.Record()
	done := record.Towards == receiving.name() && (record.Phase == migrate.Switched || record.Phase == migrate.RolledBack)
	opened := done || record.Towards == receiving.name() && record.Phase == migrate.Opening
	if away && !opened && record.Phase != migrate.Carried {
		return fault.New(fault.Refused, "not all of its data is in %s (%s)", receiving.name(), record.Phase).On("cluster %s", giving.name()).
			WithHint("rekindle rebuild makes a cluster from its newest snapshot")
	}
	if !opened && !away {
		if err := m.s.run(ctx, h.CheckTraffic()); err != nil {
			return err
		}
		if err := m.carry(ctx, h); err != nil {
			return err
		}
	}
	if !done {
		if err := m.s.run(ctx, h.Open()); err != nil {
			return &openedError{err}
		}
	}
	closeReceiver() // its lease is the proof's now
	if err := m.s.run(ctx, proof.Up(ctx)); err != nil {
		return &openedError{err}
	}
	h.Proven(proof)
	if !m.stopped.IsZero() {
		m.told.StoppedSeconds, m.stopped = time.Since(m.stopped).Seconds(), time.Time{}
	}
	if err := m.s.run(ctx, h.Lead()); err != nil {
		return &openedError{err}
	}
	return m.s.run(ctx, h.Done())
}

// mayGive refuses a handover that does not follow from what was done before.
func mayGive(r *migrate.Record, giving, receiving *end, from string) error {
	switch {
	case r == nil || r.Phase == migrate.Confirmed:
		return fault.New(fault.Refused, "no migration from %s to %s is under way", giving.name(), receiving.name()).WithHint("begin with: rekindle migrate stage")
	case giving.name() == from && r.Phase == migrate.RolledBack:
		return fault.New(fault.Refused, "it was rolled back").On("migration %s", r.ID).WithHint("begin again with: rekindle migrate stage")
	case giving.name() == from && r.Towards == from && r.Phase != migrate.Staged:
		return fault.New(fault.Refused, "it is on its way back (%s)", r.Phase).On("migration %s", r.ID).WithHint("finish that: rekindle migrate rollback")
	}
	return nil
}

// carry stops the giver and brings what changed to the receiver, up to where that may be opened. A failure gives the giver
// back its writers.
func (m *migration) carry(ctx context.Context, h *migrate.Handover) error {
	if err := m.pass(ctx, h); err != nil { // a last one while it writes
		return err
	}
	err := m.s.run(ctx, h.Quiet())
	if err == nil {
		err = m.stop(ctx, h)
	}
	if err == nil {
		return nil
	}
	m.app.rep.Message("nothing was opened: going back")
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), backTimeout)
	defer cancel()
	back := m.s.run(after, h.GoBack())
	if !m.stopped.IsZero() {
		m.told.StoppedSeconds, m.stopped = time.Since(m.stopped).Seconds(), time.Time{}
	}
	return fault.Join(err, back)
}

// stop is the part of it in which nobody can write. It is bounded by --max-downtime.
func (m *migration) stop(ctx context.Context, h *migrate.Handover) error {
	if m.o.maxDowntime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, m.o.maxDowntime)
		defer cancel()
	}
	m.stopped = time.Now()
	if err := m.s.run(ctx, h.Fence()); err != nil {
		return err
	}
	if err := m.pass(ctx, h); err != nil {
		return err
	}
	m.told.Passes[len(m.told.Passes)-1].Stopped = true
	return m.s.run(ctx, h.Verdict())
}

// rollback goes back to the source, whatever was done.
func (m *migration) rollback(ctx context.Context) error {
	from, closeFrom, err := m.visit(ctx, &m.from)
	if err != nil {
		return err
	}
	to, closeTo, err := m.job(ctx, &m.to)
	if err != nil {
		return err
	}
	if !m.o.withoutTarget {
		if err := m.s.run(ctx, to.Look(ctx)); err != nil {
			return fault.Wrap(err, fault.Refused, "what was written in it is not known").On("cluster %s", m.to.name()).
				WithHint("let it answer again; or give up what it has, with --without-target")
		}
	}
	h := m.handover(from, to, m.from.repository)
	if err := m.s.run(ctx, h.Agree()); err != nil {
		return err
	}
	r := h.Record()
	switch {
	case r == nil || r.Phase == migrate.Confirmed:
		return fault.New(fault.Refused, "no migration from %s to %s is under way", m.from.name(), m.to.name())
	case r.Phase == migrate.RolledBack:
		return nil
	case m.o.withoutTarget:
		return m.s.run(ctx, h.Abandon())
	case r.Towards == m.from.name() && r.Phase == migrate.Staged:
		return m.s.run(ctx, h.Abandon())
	case r.Towards == m.to.name() && (r.Phase == migrate.Fencing || r.Phase == migrate.Carried):
		if err := m.s.run(ctx, h.GoBack()); err != nil {
			return err
		}
		return m.s.run(ctx, h.Abandon())
	}
	h.Close()
	closeFrom()
	closeTo()
	defer m.watch(ctx)()
	return m.giveTo(ctx, &m.to, &m.from)
}

// confirm gives up the source.
func (m *migration) confirm(ctx context.Context) error {
	to, _, err := m.visit(ctx, &m.to)
	if err != nil {
		return err
	}
	from, closeFrom, err := m.job(ctx, &m.from)
	if err != nil {
		return err
	}
	h := m.handover(from, to, m.from.repository)
	if err := m.s.run(ctx, h.Agree()); err != nil {
		return err
	}
	if r := h.Record(); r == nil || r.Phase != migrate.Confirmed { // else an earlier run has come further, and the source may be gone
		if err := m.s.run(ctx, from.Look(ctx)); err != nil {
			return err
		}
		if err := m.s.run(ctx, h.Agree()); err != nil {
			return err
		}
		if err := m.s.run(ctx, h.Confirm(m.o.keepSource)); err != nil {
			return err
		}
	}
	closeFrom()
	if m.o.keepSource {
		return nil
	}
	down, _, err := m.job(ctx, &m.from)
	if err != nil {
		return err
	}
	return m.s.run(ctx, down.Down(ctx))
}

// status tells how far it is, and changes nothing.
func (m *migration) status(ctx context.Context) error {
	from, _, err := m.job(ctx, &m.from)
	if err != nil {
		return err
	}
	to, _, err := m.job(ctx, &m.to)
	if err != nil {
		return err
	}
	errs := []error{m.s.run(ctx, from.Find(ctx)), m.s.run(ctx, to.Find(ctx))}
	if errs[0] != nil && errs[1] != nil {
		return fault.Join(errs...)
	}
	h := m.handover(from, to, m.from.repository)
	if err := m.s.run(ctx, h.Agree()); err != nil {
		return err
	}
	return m.s.run(ctx, h.Tell())
}
