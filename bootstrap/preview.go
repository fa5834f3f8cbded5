package bootstrap

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

const (
	seekTimeout    = 15 * time.Second // for a cluster to be found and to answer; what is not known then is told as that
	compareTimeout = 2 * time.Minute  // for what one step is about
)

// Preview finds out what a plan of Up would do to the cluster that there is. Nothing is changed for it: no lease is taken,
// so another run may change the cluster meanwhile. Run the plan of Seek, then that of Compare; Result has what they found.
type Preview struct {
	job *Job
	up  *plan.Plan

	mu    sync.Mutex // guards what follows: steps of Compare run side by side
	found plan.Preview
}

// Preview makes one for a plan that Up made.
func (j *Job) Preview(up *plan.Plan) *Preview {
	v := &Preview{job: j, up: up}
	v.found = plan.Preview{Of: "cluster " + j.ref().String(), Found: plan.Unreachable, Steps: map[plan.ID]plan.Forecast{}}
	return v
}

// Seek is a plan that looks whether there is a cluster. That there is none, or that it does not answer, is no fault: the
// steps can be shown all the same. The context is as in Up.
func (v *Preview) Seek(ctx context.Context) *plan.Plan {
	ctx = v.job.live(ctx)
	p := plan.New("seek " + v.job.Name())
	p.Add(plan.Step{
		ID: seekID, Title: "see whether the cluster " + v.job.ref().String() + " exists",
		Do: func(step context.Context, p plan.Progress) (plan.Outcome, error) {
			found, err := v.job.seek(step, ctx)
			if err != nil {
				if found != plan.Unreachable || !bearable(step, err) {
					return "", err
				}
				v.warn(seekID, err.Error())
				p.Warn(err.Error())
			}
			v.found.Found = found
			p.Note(inWords(found))
			v.permitted(step, p)
			return plan.Unchanged, nil
		},
	})
	add(p, v.foreseeSets(), seekID)
	return p
}

const seekID = "cluster"

// permitted warns of an up that would be refused, which whoever only looks may not be allowed.
func (v *Preview) permitted(ctx context.Context, p plan.Progress) {
	lender, ok := v.job.tools.Provider.(providers.Lender)
	if !ok || v.found.Found == plan.Unreachable {
		return
	}
	if err := lender.Permits(ctx, v.job.ref()); err != nil {
		text := "up would be refused: " + err.Error()
		v.warn(seekID, text)
		p.Warn(text)
	}
}

// seek finds the cluster and connects to it. live bounds the connection.
func (j *Job) seek(ctx, live context.Context) (plan.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, seekTimeout)
	defer cancel()
	found := plan.Exists
	cluster, err := j.tools.Provider.Find(ctx, j.ref())
	if lender, lent := j.tools.Provider.(providers.Lender); lent && errors.Is(err, providers.ErrNotFound) {
		found = plan.Empty
		cluster, err = lender.Lent(ctx, j.ref())
	}
	switch {
	case errors.Is(err, providers.ErrNotFound):
		return plan.Absent, nil
	case errors.Is(err, providers.ErrNotOwned):
		return plan.Exists, j.notOurs(err)
	case err != nil:
		return plan.Unreachable, err
	case !cluster.Complete:
		return plan.Incomplete, nil
	}
	if err := j.connect(live, cluster); err != nil {
		return plan.Unreachable, err
	}
	if err := j.client.Answers(ctx); err != nil {
		return plan.Unreachable, fault.Wrap(err, fault.Failed, "its API server does not answer").On("cluster %s", j.ref())
	}
	return found, nil
}

// inWords says what was found, for a note.
func inWords(found plan.Found) string {
	return map[plan.Found]string{
		plan.Absent: "it does not exist yet", plan.Empty: "it has nothing of ours yet", plan.Incomplete: "it is half-made, or does not run",
		plan.Unreachable: "it does not answer", plan.Exists: "it exists",
	}[found]
}

// bearable says whether a preview can do without what an error kept it from finding out: not where up would be refused, nor where the
// run itself was ended.
func bearable(ctx context.Context, err error) bool {
	return ctx.Err() == nil && fault.KindOf(err) != fault.Refused
}

// Compare is a plan that compares what each step of Up is about with the cluster that Seek found; nil where there is nothing to
// compare with. In a cluster that somebody else made there is something before it has anything of ours. What cannot be found out is warned of; what Up would refuse is a fault.
func (v *Preview) Compare() *plan.Plan {
	if v.found.Found != plan.Exists && v.found.Found != plan.Empty {
		return nil
	}
	p := plan.New("compare " + v.job.Name())
	for _, s := range v.up.Steps() {
		if s.Passive || s.Look == nil || v.found.Found == plan.Empty && s.ID == provisionID {
			continue
		}
		p.Add(plan.Step{
			ID: s.ID, Title: "compare: " + s.Title,
			Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
				return plan.Unchanged, v.look(ctx, s, p)
			},
		})
	}
	return p
}

// look asks one step what it would do.
func (v *Preview) look(ctx context.Context, s *plan.Step, p plan.Progress) error {
	within, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	warn := v.noting(s.ID, p)
	f, err := s.Look(within, warn)
	if err != nil {
		if !bearable(ctx, err) {
			return err
		}
		f = plan.Forecast{Effect: plan.Unknown}
		warn.Warn(err.Error())
	}
	if len(f.Changes) > 0 {
		p.Note(f.Changes[0])
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.found.Steps[s.ID] = f
	return nil
}

// noting passes on what a step tells, and keeps what it warns of.
func (v *Preview) noting(id plan.ID, p plan.Progress) plan.Progress {
	return func(u plan.Update) {
		if u.Warning != "" {
			v.warn(id, u.Warning)
		}
		if p != nil {
			p(u)
		}
	}
}

func (v *Preview) warn(id plan.ID, text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.found.Warnings = append(v.found.Warnings, plan.Remark{Step: id, Text: text})
}

// Result is what every step of Up would do, by what was found.
func (v *Preview) Result() *plan.Preview {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.up.Steps() {
		if _, known := v.found.Steps[s.ID]; !known {
			v.found.Steps[s.ID] = v.unasked(s)
		}
	}
	v.again()
	slices.SortStableFunc(v.found.Warnings, func(a, b plan.Remark) int { return v.place(a.Step) - v.place(b.Step) })
	return &v.found
}

// unasked is what a step would do that was not compared.
func (v *Preview) unasked(s *plan.Step) plan.Forecast {
	switch found := v.found.Found; {
	case s.Passive, s.ID == guardID:
		return plan.Forecast{Effect: plan.None}
	case found == plan.Empty && s.ID == provisionID:
		return plan.Forecast{Effect: plan.Change, Changes: []string{"mark it as ours"}}
	case found == plan.Absent, found == plan.Empty:
		if v.job.takesAway(s.ID) {
			return plan.Forecast{Effect: plan.None}
		}
		return plan.Forecast{Effect: plan.Create}
	case found == plan.Incomplete && s.ID == provisionID:
		return plan.Forecast{Effect: plan.Change, Changes: []string{"finish it, or start it again"}}
	}
	return plan.Forecast{Effect: plan.Unknown}
}

// again has the Jobs of checks run where something before them changes: what they showed they show of that no more. It is what
// noteChange does to a run.
func (v *Preview) again() {
	changes := false
	for _, s := range v.up.Steps() {
		f := v.found.Steps[s.ID]
		switch {
		case s.ID == contextID:
		case v.job.isJobCheck(s.ID):
			if changes && f.Effect == plan.None && !s.Passive {
				v.found.Steps[s.ID] = plan.Forecast{Effect: plan.Change, Changes: []string{"run its Job again, because something before it changes"}}
			}
		case f.Effect == plan.Create, f.Effect == plan.Change:
			changes = true
		}
	}
}

// place is where a step is in the plan.
func (v *Preview) place(id plan.ID) int {
	return slices.IndexFunc(v.up.Steps(), func(s *plan.Step) bool { return s.ID == id })
}
