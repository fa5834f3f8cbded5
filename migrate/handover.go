package migrate

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/migrate/gate"
	"github.com/rekindle-dev/rekindle/migrate/outward"
	"github.com/rekindle-dev/rekindle/migrate/poke"
	"github.com/rekindle-dev/rekindle/migrate/traffic"
)

// Times within which a step of a handover must be done.
const (
	recordTimeout = time.Minute
	stopTimeout   = 10 * time.Minute // for writers to end in their own time
	openTimeout   = 5 * time.Minute
	closedTimeout = 20 * time.Second // to see that the receiver is closed, when nobody can write
)

// HandoverOptions say how data is handed over.
type HandoverOptions struct {
	From, To string        // the clusters of the migration, whichever way this handover goes
	Hold     []string      // further applications that act on the world outside
	Jobs     time.Duration // how long Jobs that run already are given to end

	// Restorer fills claims of the receiver.
	Restorer func(c *kube.Client, a state.Access, pass Pass) Restorer
	// Switch leads requests to the cluster that writes; its id is that of the migration.
	Switch traffic.Switch
	// Keep reads live objects, PutBack creates those that are missing and says how many.
	Keep    func(ctx context.Context, c *kube.Client, objects []config.StateObject) ([]map[string]any, error)
	PutBack func(ctx context.Context, c *kube.Client, objects []map[string]any) (int, error)
}

// Pass says what the claims of the receiver are filled from, and how.
type Pass struct {
	Set     string // its id
	Cluster string // whose set it is
	// Changed takes files for right whose size and time are: the others alone are written and read back. Without, every
	// file is.
	Changed  bool
	Standing *volumes.Standing // movers that stay from one pass to the next
	Last     bool              // there is no next one
}

// Handover moves the data of one cluster, the giver, to another that has all else, the receiver, and the right to write
// with it. Both are visited. At no moment may both write: the giver is fenced before the receiver is opened, and what
// holds the one back is proven before the other is let go.
type Handover struct {
	giver, receiver *bootstrap.Job
	repository      Repository // the giver's sets
	o               HandoverOptions

	record   *Record                    // the newest of both
	known    map[*bootstrap.Job]*Record // what each of both knew when Agree ran, of those that answer
	held     fence.Rules                // what the giver's fence refused when Agree ran
	commit   string                     // that the receiver will be proven at; empty when it cannot move
	behind   string                     // what the receiver was at when it was looked at first
	snapshot *Snapshot
	changed  bool          // files that look right are not read
	access   *state.Access // of the receiver's movers to the repository; nil before
	restorer Restorer
	unserve  func()

	takers, fillers volumes.Standing // movers of the giver and of the receiver that stay from one pass to the next
	stands          bool             // there may be some
	mates           mates
}

// NewHandover hands the data of giver over to receiver. Close ends what the steps leave running.
func NewHandover(giver, receiver *bootstrap.Job, r Repository, o HandoverOptions) *Handover {
	o.Hold = outward.Apps(o.Hold...)
	return &Handover{giver: giver, receiver: receiver, repository: r, o: o, known: map[*bootstrap.Job]*Record{}}
}

// Close ends what the steps started.
func (h *Handover) Close() {
	if h.snapshot != nil {
		h.snapshot.Close()
	}
	if h.unserve != nil {
		h.unserve()
	}
	h.snapshot, h.unserve, h.access, h.restorer = nil, nil, nil, nil
}

// Dismiss ends the movers that stand in both clusters, if passes have left any.
func (h *Handover) Dismiss(ctx context.Context) error {
	if !h.stands {
		return nil
	}
	if err := h.dismiss(ctx); err != nil {
		return err
	}
	h.stands = false
	return nil
}

// dismiss ends the movers that stand, also those of a run that was killed: where one mounts a claim, pods on other nodes
// may not.
func (h *Handover) dismiss(ctx context.Context) error {
	var errs []error
	for _, job := range []*bootstrap.Job{h.giver, h.receiver} {
		if job.Client() != nil {
			errs = append(errs, volumes.Dismiss(ctx, job.Client()))
		}
	}
	return fault.Join(errs...)
}

// Hold names the applications that act on the world outside.
func (h *Handover) Hold() []string { return h.o.Hold }

// Holds says whether a pod with these labels acts on the world outside.
func (h *Handover) Holds(labels map[string]string) bool { return outward.Has(h.o.Hold, labels) }

// Set is the set of the newest pass.
func (h *Handover) Set() state.Manifest { return h.snapshot.Set() }

// Proven goes on with another job of the receiver's cluster, by which it was proven.
func (h *Handover) Proven(receiver *bootstrap.Job) { h.receiver = receiver }

// Expect says at which commit the receiver will be proven. Of all refs a branch alone moves meanwhile.
func (h *Handover) Expect(commit string) {
	if s := h.receiver.Documents().Cluster.Spec.Source; s != nil && s.Ref.Tag == "" && s.Ref.Commit == "" {
		h.commit = commit
	}
}

// Record is what both clusters knew of the migration when Agree ran, and what was done since; nil when there is none.
func (h *Handover) Record() *Record { return h.record }

// Agree reads the records of both clusters, and refuses those of another migration.
func (h *Handover) Agree() *plan.Plan {
	p := plan.New("agree on the migration")
	p.Add(plan.Step{
		ID: "record", Title: "read what both clusters know of the migration", Timeout: recordTimeout, Retries: 2,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if err := reaches(ctx, h.repository.Local(), h.giver, h.receiver); err != nil {
				return "", err
			}
			for _, job := range []*bootstrap.Job{h.giver, h.receiver} {
				if job.Client() == nil {
					continue // it is away, which the caller knows
				}
				r, err := readRecord(ctx, job.Client())
				if err != nil {
					return "", fault.Wrap(err, fault.KindOf(err), "read the migration record").On("cluster %s", job.Name())
				}
				if err := h.fits(r, job); err != nil {
					return "", err
				}
				h.known[job] = r
				if r != nil && r.From == h.o.From && r.To == h.o.To && r.newer(h.record) {
					h.record = r
				}
			}
			if h.record == nil {
				return plan.Unchanged, nil
			}
			p.Note(fmt.Sprintf("migration %s: %s since %s", h.record.ID, h.record.Phase, h.record.Since.UTC().Format(time.RFC3339)))
			return plan.Unchanged, h.findFence(ctx)
		},
	})
	return p
}

// Share lets a cluster know what the other alone knew when Agree ran: one that was away for a while must not go on by what it
// knew, when the other is away later.
func (h *Handover) Share() *plan.Plan {
	p := plan.New("share what is known of the migration")
	p.Add(plan.Step{
		ID: "record", Title: "let both clusters know the same of the migration", Timeout: recordTimeout, Retries: 2,
		Do: h.share,
	})
	return p
}

func (h *Handover) share(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	outcome := plan.Unchanged
	for job, r := range h.known {
		if h.record == nil || r != nil && *r == *h.record || job.Client() == nil {
			continue
		}
		if err := h.noteIn(ctx, h.record.Phase, h.record.Towards, job); err != nil {
			return "", err
		}
		p.Note(job.Name() + " did not know of it yet")
		outcome = plan.Changed
	}
	return outcome, nil
}

// findFence finds out whether an earlier run has begun to stop the giver.
func (h *Handover) findFence(ctx context.Context) error {
	if h.giver.Client() == nil {
		return nil
	}
	found, err := fence.Find(ctx, h.giver.Client())
	if err == nil && found != nil && found.Migration == h.record.ID {
		h.held = found.Rules
	}
	return err
}

// Begun says whether the giver was being stopped when Agree ran, by a run that was killed: no Job began any more.
func (h *Handover) Begun() bool { return h.held.Jobs }

// Stopped says whether the giver was fenced when Agree ran, by a run that was killed: nobody could write.
func (h *Handover) Stopped() bool { return h.held.Claims }

// fits refuses the record of another migration that is under way.
func (h *Handover) fits(r *Record, job *bootstrap.Job) error {
	if r == nil || r.over() || r.From == h.o.From && r.To == h.o.To {
		return nil
	}
	return fault.New(fault.Refused, "the migration %s from %s to %s is under way (%s)", r.ID, r.From, r.To, r.Phase).On("cluster %s", job.Name()).
		WithHint("finish it, or give it up: rekindle migrate rollback with the documents of %s and %s", r.From, r.To)
}

// Begin records a migration in both clusters, or takes up the one there is.
func (h *Handover) Begin() *plan.Plan {
	p := plan.New("begin the migration")
	p.Add(plan.Step{
		ID: "record", Title: "record the migration in both clusters", Timeout: recordTimeout, Retries: 2,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			switch {
			case h.record != nil && h.record.Phase == RolledBack: // the same clusters once more
				return plan.Changed, h.note(ctx, Staged, h.o.From)
			case h.record == nil || h.record.Phase == Confirmed:
				h.record = &Record{ID: state.NewID(time.Now().UTC()), From: h.o.From, To: h.o.To}
				p.Note("migration " + h.record.ID)
				return plan.Changed, h.note(ctx, Staged, h.o.From)
			case h.record.Phase != Staged:
				return "", fault.New(fault.Refused, "is %s already", h.record.Phase).On("migration %s", h.record.ID).
					WithHint("rekindle migrate cutover continues it, rekindle migrate rollback returns to the source")
			}
			return plan.Unchanged, h.note(ctx, Staged, h.o.From)
		},
	})
	return p
}

// note records a phase, in the giver first: it is the one that must not forget what was begun. A cluster that is away
// learns of it later: who reads, reads both.
func (h *Handover) note(ctx context.Context, phase Phase, towards string) error {
	return h.noteIn(ctx, phase, towards, h.giver, h.receiver)
}

// noteIn records a phase in clusters, one after the other.
func (h *Handover) noteIn(ctx context.Context, phase Phase, towards string, jobs ...*bootstrap.Job) error {
	next := *h.record
	if next.Phase != phase || next.Towards != towards {
		next.Phase, next.Towards, next.Since = phase, towards, time.Now().UTC()
	}
	for _, job := range jobs {
		if job.Client() == nil {
			continue
		}
		if err := next.write(ctx, job.Client()); err != nil {
			return fault.Wrap(err, fault.Failed, "record the migration").On("cluster %s", job.Name())
		}
	}
	h.record = &next
	return nil
}

// mark is that of the giver's fence.
func (h *Handover) mark() fence.Mark {
	return fence.Mark{Migration: h.record.ID, Epoch: h.record.Epoch, Other: h.receiver.Name()}
}

// rules are what the fence of a giver refuses that is stopped.
func (h *Handover) rules(ctx context.Context) (fence.Rules, error) {
	stay, err := exempt(ctx, h.giver.Client())
	return fence.Rules{Jobs: true, JobPods: &fence.Except{}, Claims: true, Exempt: stay, Apps: h.o.Hold}, err
}

// Quiet begins a handover: no Job begins in the giver any more, and those that run end. Everything else goes on.
func (h *Handover) Quiet() *plan.Plan {
	p := plan.New("quiet " + h.giver.Name())
	safe := p.Add(plan.Step{
		ID: "pods", Title: "what is stopped comes back by itself", Timeout: lookTimeout, Retries: 2,
		Reason: "a pod that nothing makes again would be lost",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			return plan.Unchanged, h.checkPods(ctx, h.giver.Client(), p)
		},
	})
	same := p.Add(plan.Step{
		ID: "commit", Title: "both follow the same commit", Timeout: lookTimeout, Retries: 2,
		Reason: "while nobody can write it is too late to wait for it",
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			return plan.Unchanged, h.sameCommit(ctx)
		},
	})
	ready := []plan.ID{safe, same}
	if ahead := h.compareAhead(); ahead != nil {
		ready = append(ready, p.Add(*ahead, same))
	}
	begun := p.Add(plan.Step{
		ID: "record", Title: "record that " + h.giver.Name() + " is being stopped", Timeout: recordTimeout, Retries: 2,
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			if h.record.Towards != h.receiver.Name() {
				h.record.Epoch++
				h.record.Before = h.record.Phase
			}
			return plan.Changed, h.note(ctx, Fencing, h.receiver.Name())
		},
	}, ready...)
	p.Add(plan.Step{
		ID: "jobs", Title: "let no Job begin, and those that run end", Timeout: h.o.Jobs + time.Minute,
		Reason: "a Job may need what is stopped after it",
		Do:     h.endJobs,
	}, begun)
	return p
}

// endJobs lets no Job begin. What a fence refuses that is there already, that of a cluster that stands by, it still refuses.
func (h *Handover) endJobs(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	found, err := fence.Find(ctx, h.giver.Client())
	if err != nil || found != nil && found.Rules.Claims {
		return plan.Unchanged, err // an earlier run came further
	}
	rules := fence.Rules{Jobs: true}
	if found != nil {
		rules.JobPods, rules.Apps = found.Rules.JobPods, found.Rules.Apps
	}
	f := fence.New(h.giver.Client())
	if _, err := f.PutUp(ctx, h.mark(), rules, p); err != nil {
		return "", err
	}
	within, cancel := context.WithTimeout(ctx, h.o.Jobs)
	defer cancel()
	err = f.EndProofs(within, p)
	if err == nil {
		err = f.AwaitJobs(within, rules, p)
	}
	if err != nil && h.neverProven() && within.Err() != nil && ctx.Err() == nil {
		p.Warn(fmt.Sprintf("%s was never proven, so its Jobs end with its other pods: %v", h.giver.Name(), err))
		err = nil
	}
	return plan.Changed, err
}

// neverProven says whether the giver was opened and does not work as it should, as when a cutover goes back by itself: a Job there
// may wait for what never comes, and with it the way back.
func (h *Handover) neverProven() bool { return h.record.Before == Opening }

// Fence stops the giver, when it is quiet: whatever mounts a claim, and what acts on the world outside. From here on
// until the receiver is open nobody can write. Stateless workloads go on.
func (h *Handover) Fence() *plan.Plan {
	p := plan.New("fence " + h.giver.Name())
	p.Add(plan.Step{
		ID: "fence", Title: "let nothing write in " + h.giver.Name(), Timeout: stopTimeout,
		Reason: "from here on until the other side runs, nobody can write",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			rules, err := h.rules(ctx)
			if err != nil {
				return "", err
			}
			if err := h.comeBack(ctx, rules); err != nil { // Jobs were awaited since it was checked last
				return "", err
			}
			f := fence.New(h.giver.Client())
			if _, err := f.PutUp(ctx, h.mark(), rules, p); err != nil {
				return "", err
			}
			if !h.neverProven() {
				rules.JobPods = nil // a Job that slipped in is not ended in its midst: isStopped names it
			}
			if _, err := f.Clear(ctx, rules, p); err != nil {
				return "", err
			}
			return plan.Changed, h.isStopped(ctx)
		},
	})
	return p
}

// Open lets the receiver write, when nobody writes in the giver any more.
func (h *Handover) Open() *plan.Plan {
	p := plan.New("open " + h.receiver.Name())
	stopped := p.Add(plan.Step{
		ID: "stopped", Title: "nothing writes in " + h.giver.Name(), Timeout: openTimeout,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if h.giver.Client() != nil {
				return plan.Unchanged, h.isStopped(ctx)
			}
			if h.record.Phase != Carried && h.record.Phase != Opening {
				return "", fault.New(fault.Refused, "unreachable, and it is unknown whether its writers were stopped").On("cluster %s", h.giver.Name())
			}
			p.Warn(h.giver.Name() + " is unreachable: its fence was up, and still is when it comes back")
			return plan.Unchanged, nil
		},
	})
	schedules := p.Add(plan.Step{
		ID: "schedules", Title: "let schedules go on where they stopped", Timeout: openTimeout, Retries: 2,
		Reason: "what ran there is not run again here",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if h.giver.Client() == nil {
				p.Warn("cannot find out when schedules last ran in " + h.giver.Name())
				return plan.Unchanged, nil
			}
			return carrySchedules(ctx, h.giver.Client(), h.receiver.Client())
		},
	}, stopped)
	dismissed := p.Add(plan.Step{
		ID: "movers", Title: "end the movers", Timeout: openTimeout, Retries: 2,
		Reason: "where one mounts a claim, pods on other nodes cannot",
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			return plan.Unchanged, h.dismiss(ctx)
		},
	}, stopped)
	noted := p.Add(plan.Step{
		ID: "record", Title: "record that " + h.receiver.Name() + " may write", Timeout: recordTimeout, Retries: 2,
		Reason: "from here on, a rollback copies data back",
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			return plan.Changed, h.note(ctx, Opening, h.receiver.Name())
		},
	}, schedules, dismissed) // what fails before it goes back without that
	p.Add(plan.Step{
		ID: "open", Title: "let " + h.receiver.Name() + " write", Timeout: openTimeout, Retries: 2,
		Do: h.open,
	}, noted)
	return p
}

// open takes away what holds the receiver back. An API server takes up to a second to follow each of them.
func (h *Handover) open(ctx context.Context, p plan.Progress) (outcome plan.Outcome, err error) {
	var fenced, gated plan.Outcome
	var group errgroup.Group
	group.Go(func() (err error) {
		fenced, err = fence.New(h.receiver.Client()).Lift(ctx, h.record.ID, p)
		return err
	})
	group.Go(func() (err error) {
		gated, err = gate.New(h.receiver.Client()).TakeAway(ctx, gate.Migration(h.record.ID), p)
		return err
	})
	if err := group.Wait(); err != nil {
		return "", err
	}
	poke.Insist(ctx, h.receiver.Client(), p)
	if fenced == plan.Changed {
		return fenced, nil
	}
	return gated, nil
}

// Done records that the receiver writes, proven.
func (h *Handover) Done() *plan.Plan {
	phase := Switched
	if h.receiver.Name() == h.o.From {
		phase = RolledBack
	}
	p := plan.New("end the handover")
	p.Add(plan.Step{
		ID: "record", Title: "record that " + h.receiver.Name() + " writes", Timeout: recordTimeout, Retries: 2,
		Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
			return plan.Changed, h.note(ctx, phase, h.receiver.Name())
		},
	})
	return p
}
