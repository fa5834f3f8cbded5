package operate

import (
	"cmp"
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate"
	"github.com/rekindle-dev/rekindle/migrate/traffic"
)

const (
	smallPass   = 20 * time.Second // a pass that takes less is not followed by another
	backTimeout = 10 * time.Minute // to give the giver back its writers after a failure

	dismissTimeout = 20 * time.Second // for movers to be told that they are needed no more
)

// end is one of the two clusters of a migration.
type end struct {
	docs       *Documents
	repository *state.Repository // the sets of this cluster
}

func (e *end) name() string { return e.docs.Cluster.Metadata.Name }

// migration runs the phases of a migration.
type migration struct {
	caller   *Caller
	s        *Session
	o        MigrateOptions
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
	job, closeJob, err := m.s.Job(ctx, e.docs, Options{})
	if err != nil {
		return nil, nil, err
	}
	m.closers = append(m.closers, closeJob)
	if e == &m.to { // up would let it begin without the data, and write
		args := m.from.docs.Arg + " " + m.to.docs.Arg
		job.Creates("rekindle migrate stage " + args + " creates it; if it was lost since then, rekindle migrate rollback " + args + " --without-target comes first")
	}
	return job, closeJob, nil
}

// both are jobs for the two clusters, which need not exist.
func (m *migration) both(ctx context.Context) (from, to *bootstrap.Job, err error) {
	if from, _, err = m.job(ctx, &m.from); err != nil {
		return nil, nil, err
	}
	to, _, err = m.job(ctx, &m.to)
	return from, to, err
}

// visit is a job for a cluster that exists, with its lease.
func (m *migration) visit(ctx context.Context, e *end) (*bootstrap.Job, func(), error) {
	job, closeJob, err := m.job(ctx, e)
	if err != nil {
		return nil, nil, err
	}
	return job, closeJob, m.s.Run(ctx, job.Look(ctx))
}

func (m *migration) handover(ctx context.Context, giver, receiver *bootstrap.Job, sets *state.Repository) *migrate.Handover {
	var hold []string
	for _, e := range []*end{&m.from, &m.to} {
		if spec := e.docs.Cluster.Spec.Migration; spec != nil {
			hold = append(hold, spec.Hold...)
		}
	}
	way := traffic.Switch{Dir: m.to.docs.Dir}
	if spec := m.to.docs.Cluster.Spec.Migration; spec != nil {
		way.Traffic, way.Probes = spec.Traffic, spec.Probes
	}
	image := receiver.Documents().Cluster.Spec.State.Image
	h := migrate.NewHandover(giver, receiver, sets, migrate.HandoverOptions{
		From: m.from.name(), To: m.to.name(), Hold: hold, Jobs: m.o.JobsTimeout, Switch: way,
		Keep: volumes.Keep, PutBack: volumes.PutBack,
		Restorer: func(c *kube.Client, a state.Access, pass migrate.Pass) migrate.Restorer {
			return &volumes.Mover{
				Client: c, Access: a, Image: image, Set: pass.Set, Cluster: pass.Cluster, Changed: pass.Changed,
				Standing: pass.Standing, Last: pass.Last,
			}
		},
	})
	m.closers = append(m.closers, h.Close, func() { m.dismiss(ctx, h) }, func() { m.learn(h.Record()) })
	return h
}

// dismiss ends the movers that passes have left standing, unless another run has the clusters now: they may be its own.
func (m *migration) dismiss(ctx context.Context, h *migrate.Handover) {
	if m.s.Lost() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dismissTimeout)
	defer cancel()
	if err := h.Dismiss(ctx); err != nil {
		m.caller.Tell.Message(fmt.Sprintf("movers may be left; the next run ends them: %v", err))
	}
}

// walk goes through all phases. Those that users of the clusters will notice ask before.
func (m *migration) walk(ctx context.Context) error {
	for _, phase := range []func(*migration, context.Context) error{
		(*migration).check, (*migration).stage, (*migration).cutover, (*migration).confirm,
	} {
		if err := phase(m, ctx); err != nil {
			return err
		}
		m.close()
	}
	return nil
}

// check finds what is in the way, without changing anything.
func (m *migration) check(ctx context.Context) error {
	to, _, err := m.job(ctx, &m.to)
	if err != nil {
		return err
	}
	if err := m.s.Each(ctx, to.Prepare, func() *plan.Plan { return to.Seek(ctx) }); err != nil {
		return err
	}
	from, _, err := m.visit(ctx, &m.from)
	if err != nil {
		return err
	}
	h := m.handover(ctx, from, to, m.from.repository)
	if err := m.s.Run(ctx, h.Agree()); err != nil {
		return err
	}
	return fault.Join(m.s.Run(ctx, h.CheckAhead()), m.s.Run(ctx, h.Check())) // all of it at once
}

// stage brings up the target and carries the data, until a pass is short or gets no shorter.
func (m *migration) stage(ctx context.Context) error {
	from, to, err := m.both(ctx)
	if err != nil {
		return err
	}
	snapshot := migrate.NewSnapshot(from, m.from.repository)
	defer snapshot.Close()
	if err := m.s.Run(ctx, snapshot.Look(ctx)); err != nil {
		return err
	}
	h := m.handover(ctx, from, to, m.from.repository)
	if err := m.s.Run(ctx, h.Agree()); err != nil {
		return err
	}
	if h.Record() == nil {
		if err := m.remind(ctx, from); err != nil {
			return err
		}
		if err := m.s.Run(ctx, h.Agree()); err != nil { // on what it has been reminded of
			return err
		}
	}
	if err := m.s.Run(ctx, h.Begin()); err != nil {
		return err
	}
	begun := time.Now()
	if err := m.s.Run(ctx, snapshot.Take()); err != nil {
		return err
	}
	set := snapshot.Set()
	m.passed(set, begun)
	o := restoring(m.to.docs.Documents, m.from.repository, RebuildOptions{At: set.ID})
	o.Selected = m.from.docs.Cluster.Spec.State.Objects
	o.Standby = &migrate.Standby{Migration: h.Record().ID, Epoch: h.Record().Epoch, From: m.from.name(), Hold: h.Hold()}
	rebuild := migrate.NewRebuild(to, o)
	defer rebuild.Close()
	if err := m.s.Run(ctx, to.Prepare()); err != nil {
		return err
	}
	m.s.Waiting = rebuild.Claims()
	if err := m.s.Run(ctx, to.Standby(ctx, h.Holds)); err != nil {
		return err
	}
	if err := m.s.Run(ctx, h.Begin()); err != nil { // the target knows it too from now on
		return err
	}
	return m.passes(ctx, h)
}

// remind lets a source that knows of no migration know what the target does, if there is one: a source that was lost and rebuilt
// would begin another one, which the target refuses for as long as its own is not over.
func (m *migration) remind(ctx context.Context, from *bootstrap.Job) error {
	to, closeTo, err := m.job(ctx, &m.to)
	if err != nil {
		return err
	}
	defer closeTo() // another job brings it up
	if err := m.s.Run(ctx, to.Seek(ctx)); err != nil {
		return err
	}
	h := m.handover(ctx, from, to, m.from.repository)
	return m.s.Each(ctx, h.Agree, h.Share)
}

// passes carries the data while the giver writes, until a pass is short or gets no shorter.
func (m *migration) passes(ctx context.Context, h *migrate.Handover) error {
	last := time.Duration(0)
	for range m.o.Passes {
		begun := time.Now()
		if err := m.pass(ctx, h, false); err != nil { // what came before was read back as it was written
			return err
		}
		took := time.Since(begun)
		m.caller.Tell.Message(fmt.Sprintf("the last pass took %s: the cutover stops writers for about as long, plus the time that their pods take to stop and start", took.Round(time.Second)))
		if took < smallPass || last > 0 && took > last*4/5 {
			break
		}
		last = took
	}
	return nil
}

// pass carries what changed; with all, all of it is read back.
func (m *migration) pass(ctx context.Context, h *migrate.Handover, all bool) error {
	begun := time.Now()
	if err := m.s.Run(ctx, h.Look()); err != nil {
		return err
	}
	if err := m.s.Run(ctx, h.Carry(all)); err != nil {
		return err
	}
	m.passed(h.Set(), begun)
	return nil
}

// confirm gives up the source.
func (m *migration) confirm(ctx context.Context) error {
	what := "delete " + m.from.name()
	if m.o.KeepSource {
		what = fmt.Sprintf("keep %s fenced permanently", m.from.name())
	}
	if err := m.caller.confirm(ctx, what); err != nil {
		return err
	}
	to, _, err := m.visit(ctx, &m.to)
	if err != nil {
		return err
	}
	from, closeFrom, err := m.job(ctx, &m.from)
	if err != nil {
		return err
	}
	h := m.handover(ctx, from, to, m.from.repository)
	if err := m.s.Run(ctx, h.Agree()); err != nil {
		return err
	}
	if r := h.Record(); r == nil || r.Phase != migrate.Confirmed { // else an earlier run has come further, and the source may be gone
		if err := m.s.Run(ctx, from.Look(ctx)); err != nil {
			return err
		}
		if err := m.s.Each(ctx, h.Agree, func() *plan.Plan { return h.Confirm(m.o.KeepSource) }); err != nil {
			return err
		}
	}
	closeFrom()
	if m.o.KeepSource {
		return nil
	}
	down, _, err := m.job(ctx, &m.from)
	if err != nil {
		return err
	}
	down.UnholdBy(migrate.Unhold())
	return m.s.Run(ctx, down.Down(ctx))
}

// status tells how far it is, and changes nothing. One of the clusters may be away: the other one knows of the migration too.
func (m *migration) status(ctx context.Context) error {
	from, to, err := m.both(ctx)
	if err != nil {
		return err
	}
	away, err := eitherAway(m.s.Run(ctx, from.Find(ctx)), m.s.Run(ctx, to.Find(ctx)))
	if err != nil {
		return err
	}
	h := m.handover(ctx, from, to, m.from.repository)
	tell := h.Tell()
	if away != nil {
		warn(tell, away)
	}
	return m.s.Each(ctx, h.Agree, func() *plan.Plan { return tell })
}

// eitherAway sorts what finding the two clusters met: one alone may be away. One that refuses whoever asks is there, and what the
// other one knows says nothing of it.
func eitherAway(from, to error) (away, err error) {
	for _, one := range []error{from, to} {
		if fault.KindOf(one) == fault.Refused || apierrors.IsUnauthorized(one) || apierrors.IsForbidden(one) {
			return nil, one
		}
	}
	if from != nil && to != nil {
		return nil, fault.Join(from, to)
	}
	return cmp.Or(from, to), nil
}

// warn lets a plan tell that only one of the clusters was asked.
func warn(p *plan.Plan, away error) {
	p.Add(plan.Step{
		ID: "away", Title: "what the other cluster says is not known",
		Do: func(_ context.Context, p plan.Progress) (plan.Outcome, error) {
			p.Warn(away.Error())
			return plan.Unchanged, nil
		},
	})
}
