package report

import (
	"time"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// run is what the events told so far. It holds texts as they came; a display cleans what it shows,
// because a secret may become known after a text that holds it.
type run struct {
	start    time.Time // zero before the first plan began
	sections []*section

	drill     *Drill     // nil of a run that is none
	migration *Migration // nil of a run that is none
}

// section is one plan of the run.
type section struct {
	name  string
	hash  string
	steps []*step
	index map[plan.ID]*step
}

// step is one step as far as the events told.
type step struct {
	id      plan.ID
	title   string
	reason  string
	needs   []plan.ID
	caveats []string
	timeout time.Duration

	phase       engine.Phase
	outcome     plan.Outcome
	start, end  time.Time
	waiting     string
	note        string // the last one
	done, total int64
	unit        string
	cause       plan.ID
	failure     string
}

func newSection(p *plan.Plan) *section {
	s := &section{name: p.Name, hash: p.Hash(), index: map[plan.ID]*step{}}
	for _, st := range p.Steps() {
		s.add(&step{
			id: st.ID, title: st.Title, reason: st.Reason, needs: st.Needs(),
			caveats: st.Caveats, timeout: st.Timeout, phase: engine.Pending,
		})
	}
	return s
}

func (s *section) add(st *step) {
	if st.title == "" {
		st.title = string(st.id)
	}
	s.steps = append(s.steps, st)
	s.index[st.id] = st
}

func (s *step) settled() bool { return s.phase != engine.Pending && s.phase != engine.Running }

// took is how long the step ran until now, 0 when it did not.
func (s *step) took(now time.Time) time.Duration {
	switch {
	case s.start.IsZero():
		return 0
	case !s.end.IsZero():
		return s.end.Sub(s.start)
	}
	return now.Sub(s.start)
}

func (r *run) begin(p *plan.Plan, now time.Time) *section {
	if r.start.IsZero() {
		r.start = now
	}
	s := newSection(p)
	r.sections = append(r.sections, s)
	return s
}

// current is the plan that began last.
func (r *run) current() *section {
	if len(r.sections) == 0 {
		return nil
	}
	return r.sections[len(r.sections)-1]
}

// apply takes an event in and gives the step it was about.
func (r *run) apply(e engine.Event, now time.Time) *step {
	if r.current() == nil {
		r.start = now
		r.sections = append(r.sections, &section{index: map[plan.ID]*step{}})
	}
	s := r.current()
	st := s.index[e.Step]
	if st == nil {
		st = &step{id: e.Step, phase: engine.Pending}
		s.add(st)
	}
	at := e.Time
	if at.IsZero() {
		at = now
	}
	st.phase = e.Phase
	switch {
	case e.Phase == engine.Running && st.start.IsZero():
		st.start = at
	case st.settled() && !st.start.IsZero():
		st.end = at
	}
	st.outcome, st.cause = e.Outcome, e.Cause
	if e.Phase == engine.Failed && e.Err != nil {
		st.failure = fault.Wording(e.Err)
	}
	st.update(e.Update)
	return st
}

func (s *step) update(u plan.Update) {
	if u.Waiting != "" {
		s.waiting = u.Waiting
	}
	if u.Note != "" {
		s.note = u.Note
	}
	if u.Total > 0 {
		s.done, s.total, s.unit = u.Done, u.Total, u.Unit
	}
	if s.settled() {
		s.waiting = ""
	}
}
