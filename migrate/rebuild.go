package migrate

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate/gate"
)

// Times within which a step must be done.
const (
	chooseTimeout  = 5 * time.Minute
	gateTimeout    = 5 * time.Minute
	appearTimeout  = 15 * time.Minute // for a claim to be made by the chart or the repository that is known to
	settleGrace    = 30 * time.Second // for a claim that nothing is known to make, when all is applied
	restoreTimeout = 24 * time.Hour   // a terabyte over a slow line
)

// Sets is the repository of state, as far as a rebuild needs it.
type Sets interface {
	// Local says whether the repository is a folder of this machine, so that pods can reach it only here.
	Local() bool
	// Choose gives the newest complete set; or the one of an id; or, for a time, the newest complete one not after it.
	Choose(ctx context.Context, at string) (*state.Manifest, error)
	// ForPods says why pods cannot use the repository as this machine does, or warns of what they do not have.
	ForPods() (warning string, err error)
	// Expose makes the repository reachable for pods until end is called. host is this machine as they see it; empty
	// when the repository is elsewhere.
	Expose(ctx context.Context, host string) (a state.Access, end func(), err error)
}

// Restorer fills a claim that exists with what a set holds of it, and verifies it by reading it back. A volume that is not made
// yet is made where like may run, the pod that will mount it; nil when that is not known.
type Restorer interface {
	Restore(ctx context.Context, claim state.Claim, namespace, name string, like *corev1.PodSpec, p plan.Progress) error
}

// RebuildOptions says what is brought back, and by what.
type RebuildOptions struct {
	Sets  Sets
	At    string // the set, as Sets.Choose understands it
	Force bool   // overwrite claims that have data of another origin
	// AnyClass lets the provider's default storage class stand for each that neither it nor the documents bring.
	AnyClass bool

	// Selected is what the kept objects were selected by, where that is not the job's document: in a migration that of the
	// cluster that they come from.
	Selected []config.StateObject

	Standby *Standby // the cluster is to take over from another one later; nil for one that is to run

	Restorer func(c *kube.Client, a state.Access, set *state.Manifest) Restorer
	Images   []string // that it runs in the cluster
	// PutBack creates those kept objects that are missing, and says how many.
	PutBack func(ctx context.Context, c *kube.Client, objects []map[string]any) (int, error)
}

// Rebuild adds the state of a lost cluster to the plan of up. It is a [bootstrap.State].
type Rebuild struct {
	job *bootstrap.Job
	o   RebuildOptions

	drills bool // it is a drill: the cluster that it stands for may be in use

	set      *state.Manifest     // chosen by Prepare
	claims   []*claim            // of the set that have data, the most urgent first
	lasting  *lasting            // what the documents say of storage that outlives the cluster
	left     map[gate.Claim]bool // of the set, on such storage, that the documents want left as they are
	stands   map[string]string   // storage classes that nobody mapped, to those that stand for them
	gate     *gate.Gate          // put up by the step gate, nil before
	restorer Restorer
	unserve  func()
	slots    *slots
	mates    mates

	settled chan struct{} // closed when all is applied: what was not made by then, nothing makes
	settle  sync.Once

	way onTheWay
}

// NewRebuild makes the plans of the job bring back the state of a set. Close ends what they leave running.
func NewRebuild(job *bootstrap.Job, o RebuildOptions) *Rebuild {
	r := &Rebuild{job: job, o: o, slots: newSlots(parallel), stands: map[string]string{}, settled: make(chan struct{}), way: onTheWay{due: map[*claim]bool{}, quiet: make(chan struct{}), calm: make(chan struct{})}}
	job.WithState(r)
	return r
}

// Set is what was chosen by Prepare; nil before.
func (r *Rebuild) Set() *state.Manifest { return r.set }

// Claims is how many steps of the plan fill a claim each, once Prepare has run. They wait for steps beside them.
func (r *Rebuild) Claims() int { return len(r.claims) }

// Close ends what the steps of the plan started.
func (r *Rebuild) Close() {
	if r.unserve != nil {
		r.unserve()
	}
	r.unserve = nil
}

// Choose finds the set, and everything that is known to be in the way of it, before there is a cluster.
func (r *Rebuild) Choose(p *plan.Plan, needs ...plan.ID) {
	p.Add(plan.Step{
		ID: "state", Title: "choose the snapshot set", Timeout: chooseTimeout, Retries: 2,
		Reason: "data that cannot be brought back is known before anything is built",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if err := reaches(ctx, r.o.Sets.Local(), r.job); err != nil {
				return "", err
			}
			set, err := r.o.Sets.Choose(ctx, r.o.At)
			if err != nil {
				return "", err
			}
			p.Note(describe(set, time.Now()))
			r.set = set
			err = fault.Join(r.checkObjects(), r.checkKinds(p), r.prepare(p))
			if len(r.claims) > 0 {
				err = fault.Join(err, forPods(r.job, r.o.Sets, p))
			}
			return plan.Unchanged, err
		},
	}, needs...)
}

// checkObjects refuses kept objects that the document does not select: they would be created by an administrator, and
// whoever has the repository's password can write them into a set.
func (r *Rebuild) checkObjects() error {
	selections := r.o.Selected
	if s := r.job.Documents().Cluster.Spec.State; s != nil && selections == nil {
		selections = s.Objects
	}
	others, err := volumes.Unselected(r.set.Objects, selections)
	if err != nil {
		return err
	}
	var errs []error
	for _, ref := range others {
		errs = append(errs, fault.New(fault.Refused, "no entry of spec.state.objects selects it, so it is not brought back").
			On("%s of the set %s", ref, r.set.ID).At(r.job.Documents().Place("spec.state.objects")).
			WithHint("add an entry that selects it if the cluster had it and is to have it again; else somebody forged the set: change the password, and choose another with --at"))
	}
	return fault.Join(errs...)
}

// Images are the restorer's, when there is something to restore.
func (r *Rebuild) Images() []string {
	if len(r.claims) == 0 {
		return nil
	}
	return r.o.Images
}

// Gate holds back every pod that mounts a claim of the set.
func (r *Rebuild) Gate(p *plan.Plan, needs ...plan.ID) plan.ID {
	if r.o.Standby != nil {
		return p.Add(plan.Step{
			ID: "gate", Title: "hold back whatever writes", Timeout: gateTimeout, Retries: 1,
			Reason: "standby: another cluster writes", Inputs: r.inputs(),
			Do: r.standBy,
		}, needs...)
	}
	if len(r.claims) == 0 || r.job.Simulated() {
		return ""
	}
	return p.Add(plan.Step{
		ID: "gate", Title: "hold back the pods of " + plan.Count(len(r.claims), "claim"), Timeout: gateTimeout, Retries: 1,
		Reason: "no pod starts before its data is there", Inputs: r.inputs(),
		Do: r.putUpGate,
	}, needs...)
}

// Objects brings back the kept objects. What needs a kind that comes later than these waits for it, and nothing waits for that.
func (r *Rebuild) Objects(p *plan.Plan, needs ...plan.ID) plan.ID {
	now, late := r.byKind()
	id := plan.ID("")
	if len(now) > 0 {
		id = p.Add(plan.Step{
			ID: "objects", Title: "bring back " + plan.Count(len(now), "kept object"), Timeout: gateTimeout, Retries: 2,
			Reason: "controllers that find none make new ones", Inputs: r.inputs(),
			Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) { return r.putBack(ctx, now, p) },
		}, needs...)
	}
	if len(late) > 0 {
		p.Add(plan.Step{
			ID: "objects/late", Title: "bring back " + plan.Count(len(late), "kept object") + " as soon as there is the kind", Timeout: restoreTimeout, Retries: 2,
			Inputs: r.inputs(),
			Do:     func(ctx context.Context, p plan.Progress) (plan.Outcome, error) { return r.putBackLate(ctx, late, p) },
		}, append(needs, id)...)
	}
	return id
}

// Volumes fills each claim as soon as it exists. The ids are those of claims that the documents are known to make.
func (r *Rebuild) Volumes(p *plan.Plan, needs ...plan.ID) []plan.ID {
	var known []plan.ID
	for _, c := range r.claims {
		step := plan.Step{
			ID: c.step(), Title: fmt.Sprintf("restore %s (%s, %s)", c.at, bytesText(c.Bytes), plan.Count(c.Files, "file")),
			Timeout: restoreTimeout, Inputs: r.inputs(),
			Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
				defer r.way.change(func() { delete(r.way.due, c) })
				return r.restore(ctx, c, p)
			},
		}
		if c.known && !r.job.Simulated() {
			r.way.due[c] = true
		}
		if r.job.Simulated() {
			step.Caveats = []string{fmt.Sprintf("the data of %s", c.at)}
			step.Do = func(context.Context, plan.Progress) (plan.Outcome, error) { return plan.Unproven, nil }
		}
		id := p.Add(step, needs...)
		if r.o.Standby == nil && !r.job.Simulated() {
			id = p.Add(r.letGo(c), id)
		}
		if c.known {
			known = append(known, id)
		}
	}
	r.way.change(func() {}) // there may be none at all
	return known
}

// letGo waits until the pods of a claim that has its data are held back no more. Those that waited have started by then.
func (r *Rebuild) letGo(c *claim) plan.Step {
	return plan.Step{
		ID: c.liftStep(), Title: fmt.Sprintf("let further pods of %s start", c.at), Timeout: gateTimeout, Retries: 2,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if r.gate == nil {
				return plan.Unchanged, nil // there was nothing to hold back
			}
			return plan.Unchanged, r.gate.Settle(ctx, c.at, p)
		},
	}
}

// Open takes the gate away, when every claim has its data; of a cluster that stands by it stays.
func (r *Rebuild) Open(p *plan.Plan, needs ...plan.ID) plan.ID {
	empty := len(r.claims) == 0 || r.job.Simulated()
	_, late := r.byKind()
	if len(late) > 0 || !empty && slices.ContainsFunc(r.claims, func(c *claim) bool { return !c.known }) {
		p.Add(plan.Step{
			ID: "settled", Title: "see what is made no more", Always: true, Timeout: gateTimeout,
			Do: func(context.Context, plan.Progress) (plan.Outcome, error) {
				r.settle.Do(func() { close(r.settled) })
				return plan.Unchanged, nil
			},
		}, needs...)
	}
	if empty || r.o.Standby != nil {
		return ""
	}
	needs = slices.Clone(needs)
	for _, c := range r.claims {
		needs = append(needs, c.liftStep())
	}
	return p.Add(plan.Step{
		ID: "open", Title: "take the gate away", Timeout: gateTimeout, Retries: 2,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if err := r.areFilled(ctx); err != nil {
				return "", err
			}
			return gate.New(r.job.Client()).TakeAway(ctx, r.owner(), p)
		},
	}, needs...)
}

func (r *Rebuild) inputs() map[string]string { return map[string]string{"set": r.set.ID} }

// describe says what a set holds, and how old it is.
func describe(set *state.Manifest, now time.Time) string {
	var bytes, files int64
	for _, c := range set.Claims {
		bytes, files = bytes+c.Bytes, files+c.Files
	}
	return fmt.Sprintf("set %s of %s, %s old: %s with %s in %s, %s", set.ID,
		set.Time.UTC().Format("2006-01-02 15:04:05 UTC"), now.Sub(set.Time).Round(time.Second),
		plan.Count(len(set.Claims), "volume"), bytesText(bytes), plan.Count(files, "file"), plan.Count(len(set.Objects), "kept object"))
}

// bytesText is a size as a person reads it: "1.5 GiB".
func bytesText(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n)/1024, "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if size < 1024 {
			break
		}
		size, unit = size/1024, next
	}
	return fmt.Sprintf("%.1f %s", size, unit)
}
