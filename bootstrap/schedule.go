package bootstrap

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
)

const (
	scheduleTimeout = 5 * time.Minute
	scheduleGrace   = 10 * time.Minute // after the second tick, for its set to be taken
	ageTimeout      = 30 * time.Second // for the repository to tell what it has
)

// Snapshots is the repository of state, as far as a schedule needs it.
type Snapshots interface {
	Name() string
	Init(ctx context.Context) (created bool, err error)
	Sets(ctx context.Context) ([]state.Summary, error)
	Schedule(ctx context.Context) (*state.Manifest, state.Cron, error)
	PutSchedule(ctx context.Context, m state.Manifest, due state.Cron) error
	Expose(ctx context.Context, host string) (a state.Access, end func(), err error)
}

// checkSchedule tells what of spec.state.schedule cannot be.
func checkSchedule(docs *config.Documents) error {
	s := docs.Cluster.Spec.State
	if s == nil || s.Schedule == "" {
		return nil
	}
	_, err := state.ParseCron(s.Schedule)
	if err == nil {
		err = state.CheckScheduled(s.Repository)
	}
	if err == nil {
		return nil
	}
	return fault.Wrap(err, fault.Usage, "spec.state.schedule").At(docs.Place("spec.state.schedule"))
}

// isDocuments says whether the cluster is the one that the documents declare: not one that stands for it for a while, or that was
// made beside it.
func (j *Job) isDocuments() bool {
	return !j.tools.Trial && j.tools.Run == "" && !j.tools.Borrowed && j.name == j.docs.Cluster.Metadata.Name
}

// hasSchedule says whether the cluster is the one whose snapshots the documents declare: others would write sets in its name.
func (j *Job) hasSchedule() bool {
	return j.docs.Cluster.Spec.State != nil && j.tools.State != nil && j.isDocuments()
}

// scheduleID is the step that is about the schedule of snapshots.
const scheduleID = "schedule"

// noSchedule is its title where there is none.
const noSchedule = "no snapshots are scheduled"

// schedule has the cluster take snapshots by itself, or no longer. Documents that keep no state any more may have had a schedule:
// its Secrets have the password of a repository that goes on to be somebody's.
func (j *Job) schedule() *plan.Step {
	s := j.docs.Cluster.Spec.State
	if s != nil && !j.hasSchedule() || !j.isDocuments() {
		return nil
	}
	fields := ""
	if s != nil {
		fields = s.Schedule
	}
	switch {
	case fields == "" && j.simulated:
		return nil
	case fields == "":
		return &plan.Step{
			ID: scheduleID, Title: noSchedule, Timeout: scheduleTimeout, Retries: 2, Look: j.foreseeNoSchedule,
			Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
				return volumes.RemoveSchedule(ctx, j.client, p)
			},
		}
	case j.simulated:
		return &plan.Step{ID: scheduleID, Title: "schedule snapshots", Caveats: []string{"scheduled snapshots"}, Do: unproven, Passive: true}
	}
	return &plan.Step{
		ID: scheduleID, Title: "schedule snapshots at " + fields, Timeout: scheduleTimeout, Retries: 2,
		Inputs: map[string]string{"schedule": fields},
		Do:     j.installSchedule, Look: j.foreseeSchedule,
	}
}

// installSchedule writes what the schedule takes into the repository, with the kept objects, and makes its CronJobs.
func (j *Job) installSchedule(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	due, err := state.ParseCron(j.docs.Cluster.Spec.State.Schedule)
	if err != nil {
		return "", err
	}
	m, found, err := j.scheduled(ctx, p)
	if err != nil {
		return "", err
	}
	repository, err := j.tools.State(ctx)
	if err != nil {
		return "", err
	}
	access, end, err := repository.Expose(ctx, "")
	if err != nil {
		return "", err
	}
	defer end()
	for _, name := range []string{"AWS_SESSION_TOKEN", "GOOGLE_ACCESS_TOKEN"} {
		if access.Env[name] != "" {
			p.Warn(fmt.Sprintf("%s is short-lived, and scheduled snapshots fail when it expires: run up with long-lived credentials", name))
		}
	}
	told, err := j.tellSchedule(ctx, repository, m, due, p)
	if err != nil {
		return "", err
	}
	made, err := j.scheduleOf(due).Install(ctx, found, access, p)
	if told == plan.Changed && err == nil {
		return told, nil
	}
	return made, err
}

func (j *Job) scheduleOf(due state.Cron) *volumes.Schedule {
	return &volumes.Schedule{Client: j.client, Cluster: j.name, Image: j.docs.Cluster.Spec.State.Image, Due: due}
}

// scheduled is what the schedule is to take.
func (j *Job) scheduled(ctx context.Context, p plan.Progress) (state.Manifest, []volumes.Volume, error) {
	m := state.Manifest{Version: state.Version, Cluster: j.name, Time: time.Now().UTC()}
	found, err := volumes.Find(ctx, j.client)
	if err != nil {
		return m, nil, err
	}
	var errs []error
	taken := 0
	for i := range found {
		v := &found[i]
		m.Claims = append(m.Claims, v.Claim)
		errs = append(errs, v.Fault) // each set would lack it
		if v.Taken() {
			taken++
		}
		if len(v.Hooked) > 0 {
			p.Warn(fmt.Sprintf("claim %s: a schedule cannot run the hooks of the pod %s: its snapshots are only crash-consistent", v, v.Hooked[0].Name))
		}
	}
	if err := fault.Join(errs...); err != nil {
		return m, nil, err
	}
	if m.Objects, err = volumes.Keep(ctx, j.client, j.docs.Cluster.Spec.State.Objects); err != nil {
		return m, nil, err
	}
	if m.Commit, err = j.Applied(ctx); err != nil {
		return m, nil, err
	}
	p.Note(fmt.Sprintf("%s; its sets have the %s of now until up runs again", plan.Count(taken, "claim"), plan.Count(len(m.Objects), "kept object")))
	return m, found, nil
}

// tellSchedule writes the manifest of the schedule unless the repository has it.
func (j *Job) tellSchedule(ctx context.Context, r Snapshots, m state.Manifest, due state.Cron, p plan.Progress) (plan.Outcome, error) {
	if _, _, err := volumes.Begin(ctx, j.client, r, j.name, p); err != nil {
		return "", err
	}
	told, err := toldSchedule(ctx, r, m, due)
	if err != nil || told {
		return plan.Unchanged, err
	}
	return plan.Changed, r.PutSchedule(ctx, m, due)
}

// toldSchedule says whether the repository has the manifest of the schedule.
func toldSchedule(ctx context.Context, r Snapshots, m state.Manifest, due state.Cron) (bool, error) {
	was, before, err := r.Schedule(ctx)
	if err != nil || was == nil || before.String() != due.String() {
		return false, err
	}
	last := *was
	last.Time = m.Time
	a, errA := json.Marshal(last)
	b, errB := json.Marshal(m)
	return errA == nil && errB == nil && bytes.Equal(a, b), nil
}

// stateStatus tells how old the newest complete set is, which is what would be lost with the cluster now; and what is
// wrong with the schedule, or left of one.
func (j *Job) stateStatus() *plan.Step {
	declared := j.docs.Cluster.Spec.State
	switch {
	case declared == nil && (j.simulated || !j.isDocuments()), declared != nil && !j.hasSchedule():
		return nil
	case declared == nil:
		return &plan.Step{ID: "state", Title: noSchedule, Timeout: scheduleTimeout, Do: j.compareNoSchedule}
	}
	s := &plan.Step{
		ID: "state", Title: "the age of the newest snapshot set", Timeout: 2 * time.Minute,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			_, _ = j.newest(ctx, p)
			if j.simulated {
				return plan.Unchanged, nil
			}
			return j.compareNoSchedule(ctx, p)
		},
	}
	if declared.Schedule != "" && !j.simulated {
		s.Title = "snapshots are taken at " + declared.Schedule
		s.Do = j.compareSchedule
	}
	return s
}

// compareNoSchedule tells what is left of a schedule that the documents no longer have.
func (j *Job) compareNoSchedule(ctx context.Context, _ plan.Progress) (plan.Outcome, error) {
	refs, err := volumes.FindSchedule(ctx, j.client)
	if err != nil {
		return "", err
	}
	var errs []error
	for _, ref := range refs {
		errs = append(errs, fault.New(fault.Failed, "is of a schedule of snapshots that is not in the documents").On("%s", ref).
			WithHint("rekindle up removes it; it has, or uses, the password of the state repository"))
	}
	return plan.Unchanged, fault.Join(errs...)
}

// newest is when the newest complete set was begun; zero without one. That it is not known is told, and no fault: the repository
// may be reached by the cluster alone.
func (j *Job) newest(ctx context.Context, p plan.Progress) (begun time.Time, known bool) {
	ctx, cancel := context.WithTimeout(ctx, ageTimeout)
	defer cancel()
	sets, all, err := j.wholeSets(ctx, p)
	switch {
	case err != nil:
		p.Warn(fmt.Sprintf("the age of the newest snapshot set is not known: %v", err))
		return time.Time{}, false
	case len(sets) == 0:
		p.Note(fmt.Sprintf("none of the %s is complete", plan.Count(all, "snapshot set")))
		return time.Time{}, true
	}
	p.Note(fmt.Sprintf("the newest complete set, %s, is %s old", sets[0].ID, duration.HumanDuration(time.Since(sets[0].Time))))
	return sets[0].Time, true
}

// compareSchedule tells of CronJobs that are not as they should be, of Jobs that failed, and of a set that is overdue.
func (j *Job) compareSchedule(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	due, err := state.ParseCron(j.docs.Cluster.Spec.State.Schedule)
	if err != nil {
		return "", err
	}
	found, err := volumes.Find(ctx, j.client)
	if err != nil {
		return "", err
	}
	since, err := j.scheduleOf(due).Check(ctx, found)
	errs := []error{err}
	for i := range found {
		errs = append(errs, found[i].Fault)
	}
	begun, known := j.newest(ctx, p)
	if known && !since.IsZero() {
		errs = append(errs, overdue(due, begun, since, time.Now()))
	}
	return plan.Unchanged, fault.Join(errs...)
}

// overdue is the fault that two ticks have passed, and a grace, since the newest complete set was begun; or, without one
// or with one of before, since the schedule is there.
func overdue(due state.Cron, begun, since, now time.Time) error {
	from, what := begun, "the newest complete snapshot set is from "+begun.Format(time.RFC3339)
	if begun.IsZero() {
		what = "there is no complete snapshot set"
	}
	if from.Before(since) {
		from = since
	}
	by := due.Overdue(from, scheduleGrace)
	if now.Before(by) {
		return nil
	}
	return fault.New(fault.Failed, "%s; another was due by %s", what, by.UTC().Format(time.RFC3339)).On("the schedule %s", due).
		WithHint("what else status tells of the claims is why; rekindle snapshots shows which of them later sets lack; rekindle snapshot takes a set now")
}

// removeSchedule takes a schedule out of a cluster that somebody else made, whether or not the documents still have one.
func (j *Job) removeSchedule() *plan.Step {
	s := j.inLent(scheduleID, "remove the schedule of snapshots", func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
		return volumes.RemoveSchedule(ctx, j.client, p)
	})
	return &s
}
