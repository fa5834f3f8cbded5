package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
)

// Times within which a step of a snapshot must be done.
const (
	lookTimeout   = 5 * time.Minute
	backupTimeout = state.Making
)

// simulated says why no data is taken where nothing runs behind the pods.
const simulated = "its node is simulated: there is no data"

// Repository is the repository of state, as far as a snapshot needs it.
type Repository interface {
	Name() string
	Init(ctx context.Context) (created bool, err error)
	Sets(ctx context.Context) ([]state.Summary, error)
	Put(ctx context.Context, m state.Manifest) error
	ForPods() (warning string, err error)
	Expose(ctx context.Context, host string) (a state.Access, end func(), err error)
	Local() bool
}

// Snapshot makes the plans that take a snapshot set of a cluster.
type Snapshot struct {
	job        *bootstrap.Job
	repository Repository
	spec       config.State

	volumes []volumes.Volume  // found by Look
	parents map[string]string // claim → its snapshot in the newest set that has one
	before  *state.Summary    // the newest set that is whole; nil without one
	mover   *volumes.Mover
	opened  bool          // the repository, by an earlier one
	access  *state.Access // how movers reach it; nil before
	unserve func()
	room    chan struct{} // as many as may be taken at once

	standing *volumes.Standing // movers that stay for the next one; nil: they do not
	last     bool              // there is no next one

	mu      sync.Mutex // guards what follows, which steps side by side write
	set     state.Manifest
	taken   map[string]state.Claim
	missing []string // why the set is not complete
	begun   bool     // there is something that a manifest is to tell of
	read    bool     // the kept objects are in the set
	end     sync.Once
}

// NewSnapshot takes a snapshot of the job's cluster into a repository. The documents have a spec.state. Close ends what
// the steps leave running.
func NewSnapshot(job *bootstrap.Job, r Repository) *Snapshot {
	return &Snapshot{
		job: job, repository: r, spec: *job.Documents().Cluster.Spec.State,
		parents: map[string]string{}, taken: map[string]state.Claim{}, room: make(chan struct{}, parallel), unserve: func() {},
	}
}

// Set is the set as far as it was taken.
func (s *Snapshot) Set() state.Manifest { return s.manifest() }

// Close ends what the steps started.
func (s *Snapshot) Close() { s.end.Do(func() { s.unserve() }) }

// Look finds what there is to take, and where it goes. The context bounds the lease of the cluster, as does closing
// the job.
func (s *Snapshot) Look(ctx context.Context) *plan.Plan {
	p := plan.New("look at " + s.job.Name())
	s.lookAround(p, s.job.Visit(ctx, p))
	return p
}

// next is a snapshot that continues this one, in the repository that it has opened.
func (s *Snapshot) next() *Snapshot {
	n := NewSnapshot(s.job, s.repository)
	n.opened, n.access, n.unserve, n.standing = true, s.access, s.unserve, s.standing
	s.end.Do(func() {}) // the next one ends what this one has begun
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(n.parents, s.parents)
	for name, claim := range s.taken {
		n.parents[name] = claim.Snapshot
	}
	return n
}

// lookAround finds the volumes of the cluster, which was visited, and the repository.
func (s *Snapshot) lookAround(p *plan.Plan, visited plan.ID) {
	if !s.opened {
		p.Add(plan.Step{
			ID: "repository", Title: "open the state repository", Timeout: lookTimeout, Retries: 2,
			Do: s.open,
		}, visited)
	}
	p.Add(plan.Step{
		ID: "volumes", Title: "find the volumes", Timeout: lookTimeout, Retries: 2,
		Do: s.find,
	}, visited)
}

// open makes the repository on first use, and finds the snapshots that the new ones continue.
func (s *Snapshot) open(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	if err := fault.Join(reaches(ctx, s.repository.Local(), s.job), forPods(s.job, s.repository, p)); err != nil {
		return "", err
	}
	sets, created, err := volumes.Begin(ctx, s.job.Client(), s.repository, s.job.Name(), p)
	if err != nil {
		return "", err
	}
	for i, set := range sets { // the newest first
		if s.before == nil && set.Whole() {
			s.before = &sets[i]
		}
		for _, c := range set.Claims {
			if s.parents[c.Claim] == "" {
				s.parents[c.Claim] = c.Snapshot
			}
		}
	}
	if created {
		return plan.Changed, nil
	}
	return plan.Unchanged, nil
}

func (s *Snapshot) find(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	if err := volumes.SweepCuts(ctx, s.job.Client(), p); err != nil {
		return "", err
	}
	found, err := volumes.Find(ctx, s.job.Client())
	if err == nil {
		err = s.isWhole(ctx, found)
	}
	if err == nil && s.cuts() {
		err = volumes.Cuts(ctx, s.job.Client(), found)
	}
	if err != nil {
		return "", err
	}
	for i := range found {
		v := &found[i]
		if s.job.Simulated() && v.Taken() {
			v.Skipped = simulated
		}
		switch {
		case v.Skipped != "" && v.Going:
			p.Warn(fmt.Sprintf("claim %s is left out, although a pod has it mounted: %s: its data is in no set from now on, and goes with that pod", v, v.Skipped))
		case v.Skipped != "":
			p.Note(fmt.Sprintf("claim %s is left out: %s", v, v.Skipped))
		}
	}
	s.volumes = found
	return plan.Unchanged, nil
}

// cuts says whether volumes are read through VolumeSnapshots, where that can be. A handover ends with a pass in which nothing
// writes: a cut is of no use to it, and would take time in which nobody can.
func (s *Snapshot) cuts() bool {
	return s.standing == nil && s.spec.VolumeSnapshots == config.VolumeSnapshotsAuto && !s.job.Simulated()
}

// Take takes what Look found: the volumes side by side, each with the hooks of its pods, then the kept objects, then the
// manifest, which makes a set of it. It is written also when something is missing, and says so.
func (s *Snapshot) Take() *plan.Plan {
	p := plan.New("snapshot " + s.job.Name())
	s.addTake(p)
	return p
}

// addTake adds the steps that take the set, and gives the id of the one that writes it.
func (s *Snapshot) addTake(p *plan.Plan) plan.ID {
	now := time.Now().UTC()
	s.set = state.Manifest{Version: state.Version, ID: state.NewID(now), Cluster: s.job.Name(), Time: now, Pass: s.standing != nil}
	groups := volumes.Together(s.volumes)
	var steps []plan.ID
	for i := range s.volumes {
		switch v := &s.volumes[i]; {
		case v.Fault != nil:
			steps = append(steps, p.Add(s.refuse(v)))
		case v.Skipped == simulated:
			steps = append(steps, p.Add(plan.Step{
				ID: stepOf(v), Title: "take " + v.String(), Caveats: []string{"the data of " + v.String()},
				Do: func(context.Context, plan.Progress) (plan.Outcome, error) { return plan.Unproven, nil },
			}))
		}
	}
	if len(groups) > 0 {
		served := p.Add(plan.Step{
			ID: "access", Title: "make the state repository reachable for pods", Timeout: lookTimeout,
			Do: func(ctx context.Context, _ plan.Progress) (plan.Outcome, error) { return plan.Unchanged, s.expose(ctx) },
		})
		for _, group := range groups {
			steps = append(steps, p.Add(s.take(group), served))
		}
	}
	if len(s.spec.Objects) > 0 {
		steps = append(steps, p.Add(plan.Step{
			ID: "objects", Title: "read the kept objects", Timeout: lookTimeout, Retries: 2,
			Do: s.keep,
		}))
	}
	return p.Add(plan.Step{
		ID: "manifest", Title: "write the set " + s.set.ID, Timeout: lookTimeout, Retries: 2, Always: true,
		Do: s.finish,
	}, steps...)
}

// expose lets movers reach the repository.
func (s *Snapshot) expose(ctx context.Context) error {
	if s.access == nil {
		if err := s.serve(ctx); err != nil {
			return err
		}
	}
	s.mover = &volumes.Mover{
		Client: s.job.Client(), Access: *s.access, Image: s.spec.Image, Set: s.set.ID, Cluster: s.set.Cluster, Parents: s.parents,
		Standing: s.standing, Last: s.last,
	}
	return nil
}

func (s *Snapshot) serve(ctx context.Context) error {
	host := ""
	if s.repository.Local() {
		var err error
		if host, err = s.job.HostAddress(ctx); err != nil {
			return err
		}
	}
	access, end, err := s.repository.Expose(context.WithoutCancel(ctx), host) // for as long as movers run, until Close
	if err != nil {
		return err
	}
	s.access, s.unserve = &access, end
	return nil
}

func stepOf(v *volumes.Volume) plan.ID { return plan.ID("volume/" + v.String()) }

// refuse tells of a volume that cannot be taken.
func (s *Snapshot) refuse(v *volumes.Volume) plan.Step {
	return plan.Step{
		ID: stepOf(v), Title: "take " + v.String(),
		Do: func(context.Context, plan.Progress) (plan.Outcome, error) { return "", s.lacks(v.Fault) },
	}
}

// take takes the volumes of a group.
func (s *Snapshot) take(group []volumes.Volume) plan.Step {
	var names []string
	for i := range group {
		names = append(names, group[i].String())
	}
	return plan.Step{
		ID: stepOf(&group[0]), Title: "take " + strings.Join(names, ", "), Timeout: backupTimeout,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			select {
			case s.room <- struct{}{}:
				defer func() { <-s.room }()
			default:
				p.Waiting("other volumes to be taken first")
				select {
				case s.room <- struct{}{}:
					defer func() { <-s.room }()
				case <-ctx.Done():
					return "", s.lacks(ctx.Err())
				}
			}
			s.begins()
			return plan.Changed, s.lacks(s.backup(ctx, group, p))
		},
	}
}

// backup takes the data of the volumes of a group, as they are used now. In the last pass of a handover nothing uses them, and
// nothing is to come.
func (s *Snapshot) backup(ctx context.Context, group []volumes.Volume, p plan.Progress) error {
	var errs []error
	if !s.last {
		var err error
		group, err = volumes.Again(ctx, s.job.Client(), group, s.cuts(), p)
		errs = append(errs, err)
	}
	claims, err := s.mover.Backup(ctx, group, p)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range claims {
		s.taken[c.Namespace+"/"+c.Name] = c
	}
	return fault.Join(append(errs, err)...)
}

// keep reads the kept objects.
func (s *Snapshot) keep(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	var all []map[string]any
	for _, o := range s.spec.Objects {
		objects, err := volumes.Keep(ctx, s.job.Client(), []config.StateObject{o})
		if err != nil {
			return "", s.lacks(err)
		}
		if len(objects) == 0 {
			p.Warn(fmt.Sprintf("spec.state.objects: the cluster has no %s that is selected (namespace %q, selector %q)", o.Kind, o.Namespace, o.Selector))
		}
		all = append(all, objects...)
	}
	p.Note(fmt.Sprintf("kept objects: %d", len(all)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set.Objects, s.read, s.begun = all, true, true
	return plan.Unchanged, nil
}

func (s *Snapshot) begins() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = true
}

// lacks keeps why the set is not complete; nil is no reason.
func (s *Snapshot) lacks(err error) error {
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range fault.All(err) {
		s.missing = append(s.missing, one.Error())
	}
	return err
}

// finish writes the manifest.
func (s *Snapshot) finish(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	set := s.manifest()
	if !set.Complete && !s.begun {
		p.Warn("nothing was taken: no set is written")
		return plan.Unchanged, nil
	}
	var err error
	if set.Commit, err = s.job.Applied(ctx); err != nil {
		p.Warn(fmt.Sprintf("the commit that the cluster follows is not in the set: %v", err))
	}
	if err := s.repository.Put(ctx, set); err != nil {
		return "", fault.Wrap(err, fault.KindOf(err), "write its manifest").On("set %s", set.ID).
			WithHint("without it there is no set: run rekindle snapshot again; the data that was taken is not sent twice")
	}
	if !set.Complete {
		p.Warn(fmt.Sprintf("the set %s is not complete: rekindle rebuild does not choose it", set.ID))
		return plan.Changed, nil
	}
	if gone := s.gone(set); len(gone) > 0 {
		p.Warn(fmt.Sprintf("the set before, %s, has data of claims that this one has none of: %s: if that is to be kept, keep that set, as rebuild now chooses this one and rekindle keep removes old ones",
			s.before.ID, strings.Join(gone, ", ")))
	}
	return plan.Changed, nil
}

// gone are the claims of the newest whole set before that this one has no data of: most often somebody removed them, but a cluster
// that was lost and made anew, without its data, has none either.
func (s *Snapshot) gone(set state.Manifest) []string {
	if s.before == nil || set.Pass {
		return nil
	}
	var gone []string
	for _, c := range s.before.Claims {
		if !slices.ContainsFunc(set.Claims, func(now state.Claim) bool {
			return now.Namespace+"/"+now.Name == c.Claim && (now.Snapshot != "" || stays(now.Annotations))
		}) {
			gone = append(gone, c.Claim)
		}
	}
	return gone
}

// manifest tells what was taken and what was not.
func (s *Snapshot) manifest() state.Manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.set
	for i := range s.volumes {
		v := &s.volumes[i]
		claim, ok := s.taken[v.String()]
		switch {
		case ok:
		case v.Taken():
			claim = v.Claim
			claim.Skipped = "it could not be taken"
			set.Faults = append(set.Faults, fmt.Sprintf("claim %s: not taken", v))
		default:
			claim = v.Claim
		}
		set.Claims = append(set.Claims, claim)
	}
	set.Faults = append(set.Faults, s.missing...)
	if len(s.spec.Objects) > 0 && !s.read {
		set.Faults = append(set.Faults, "the kept objects were not read")
	}
	set.Complete = len(set.Faults) == 0
	return set
}
