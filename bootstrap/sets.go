package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/providers"
)

// setsID is the step that looks for the data of a cluster that up makes without it.
const setsID = "sets"

// lookForSets warns who makes a cluster that was lost without the data that the repository has of it. It looks while the cluster is
// being made. What it cannot find out is a warning, too: nothing of up needs it. Nil where data is brought back, or none is kept.
func (j *Job) lookForSets() *plan.Step {
	if !j.beginsEmpty() {
		return nil
	}
	return &plan.Step{
		ID: setsID, Title: "look for snapshot sets of " + j.name, Passive: true,
		Reason: "up makes a cluster that was lost without its data",
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if j.absent {
				j.warnOfSets(ctx, "this run makes the cluster without that data; if it was lost, interrupt this run, and run rekindle down and then rekindle rebuild, which brings the data back", p)
			}
			return plan.Unchanged, nil
		},
	}
}

// beginsEmpty says whether data is kept of the cluster that Up does not bring back.
func (j *Job) beginsEmpty() bool {
	_, empty := j.state.(noState)
	return empty && j.hasSchedule()
}

// isAbsent says whether there is no cluster yet, before Up makes one. One that is half-made counts as there: it may also be one that
// was stopped, and has its data.
func (j *Job) isAbsent(ctx context.Context) bool {
	if !j.beginsEmpty() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, seekTimeout)
	defer cancel()
	_, err := j.tools.Provider.Find(ctx, j.ref())
	return errors.Is(err, providers.ErrNotFound)
}

// warnOfSets tells that the repository has complete sets of the cluster. why says what that means.
func (j *Job) warnOfSets(ctx context.Context, why string, p plan.Progress) {
	within, cancel := context.WithTimeout(ctx, ageTimeout)
	defer cancel()
	sets, _, err := j.wholeSets(within, p)
	switch {
	case ctx.Err() != nil:
	case state.NoRepository(err):
		p.Note("there is no state repository yet: the first snapshot makes it")
	case err != nil:
		p.Warn(fmt.Sprintf("whether there are snapshot sets of %s is not known: %v", j.name, err))
	case len(sets) == 0:
		p.Note("there are none")
	default:
		p.Warn(fmt.Sprintf("the state repository has %s of %s, the newest of %s (%s, %s old): %s", plan.Count(len(sets), "complete snapshot set"), j.name,
			sets[0].Time.UTC().Format("2006-01-02 15:04:05 UTC"), sets[0].ID, duration.HumanDuration(time.Since(sets[0].Time)), why))
	}
}

// wholeSets are the sets that a rebuild could bring back, the newest first, of all that there are. One from the future is none.
func (j *Job) wholeSets(ctx context.Context, p plan.Progress) (sets []state.Summary, all int, err error) {
	repository, err := j.tools.State(ctx)
	if err == nil {
		sets, err = repository.Sets(ctx)
	}
	now, all := time.Now(), len(sets)
	return slices.DeleteFunc(sets, func(s state.Summary) bool {
		future := s.FromTheFuture(now)
		if future {
			p.Warn(fmt.Sprintf("the set %s is from the future and does not count: a clock was wrong where it was taken, or is here, or somebody forged it; rebuild refuses it", s.ID))
		}
		return future || !s.Whole()
	}), all, err
}

// foreseeSets is lookForSets for a preview; nil where that is.
func (v *Preview) foreseeSets() *plan.Step {
	if v.up.Step(setsID) == nil {
		return nil
	}
	return &plan.Step{
		ID: setsID, Title: v.up.Step(setsID).Title,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			if v.found.Found == plan.Absent || v.found.Found == plan.Empty {
				v.job.warnOfSets(ctx, "up makes the cluster without that data; if it was lost, rekindle rebuild makes it with the data", v.noting(setsID, p))
			}
			return plan.Unchanged, nil
		},
	}
}
