package report

import (
	"math"
	"slices"
	"time"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// The results of a run.
const (
	resultProven  = "proven"
	resultFailed  = "failed"
	resultRefused = "refused"
)

// Document is what became of a run, as the last line of -o json and on the page of --report. All
// times are in seconds; starts are counted from the start of the run.
type Document struct {
	Type         string         `json:"type"`         // "report"
	Result       string         `json:"result"`       // proven, failed, refused; interrupted is failed, with exitCode 130
	Seconds      float64        `json:"seconds"`      // length of the run
	Changes      int            `json:"changes"`      // steps that changed or adopted something
	CriticalPath []DocumentLink `json:"criticalPath"` // the chain of steps that decided the length, first to last
	Steps        []DocumentStep `json:"steps"`        // in plan order

	Unproven  []DocumentRemark `json:"unproven"` // what could not be shown here; never part of "proven"
	Warnings  []DocumentRemark `json:"warnings"` // what a person should act on
	Faults    []DocumentFault  `json:"faults"`   // why the run is not proven
	Name      string           `json:"name"`     // what the run was for: "up prod"
	Plan      string           `json:"plan"`     // the hash of its plan
	Start     time.Time        `json:"start,omitzero"`
	ExitCode  int              `json:"exitCode"`
	Drill     *Drill           `json:"drill,omitempty"`     // of a drill
	Migration *Migration       `json:"migration,omitempty"` // of a migration
}

// DocumentLink is one step of the critical path.
type DocumentLink struct {
	ID      plan.ID `json:"id"`
	Title   string  `json:"title"`
	Seconds float64 `json:"seconds"`
}

// DocumentStep is what became of one step.
type DocumentStep struct {
	ID       plan.ID        `json:"id"`
	Title    string         `json:"title"`
	Phase    engine.Phase   `json:"phase"`             // succeeded, failed, blocked, cancelled
	Outcome  plan.Outcome   `json:"outcome,omitempty"` // of a step that succeeded: unchanged, changed, adopted, unproven
	Start    float64        `json:"start"`
	Seconds  float64        `json:"seconds"` // 0 when it never started
	Waits    []DocumentWait `json:"waits"`
	Needs    []plan.ID      `json:"needs"`
	Caveats  []string       `json:"caveats"`
	Notes    []string       `json:"notes,omitempty"`
	Warnings []string       `json:"warnings,omitempty"`
	Error    string         `json:"error,omitempty"`
	Cause    plan.ID        `json:"cause,omitempty"` // of a blocked step: the step that really failed
	Hints    []string       `json:"hints,omitempty"`
	Tries    int            `json:"tries,omitempty"`
	Part     string         `json:"part,omitempty"` // the plan it belongs to, where a run is several
}

// DocumentWait is a stretch in which a step waited for one thing.
type DocumentWait struct {
	For     string  `json:"for"`
	Start   float64 `json:"start"`
	Seconds float64 `json:"seconds"`
}

// DocumentRemark is a text about a step.
type DocumentRemark struct {
	Step plan.ID `json:"step"`
	Text string  `json:"text"`
}

// DocumentFault is one fault with what to do about it.
type DocumentFault struct {
	Error string   `json:"error"`
	Hints []string `json:"hints,omitempty"`
}

// newDocument joins the result of a run, which may be nil, with the error that the command ends with.
func newDocument(r *run, result *engine.Result, err error) *Document {
	if result == nil {
		result = &engine.Result{}
	}
	d := &Document{
		Type: "report", Result: resultOf(err), ExitCode: fault.Code(err),
		Name: result.Name, Plan: result.PlanHash, Start: result.Start.UTC(), Changes: result.Changes(),
		Seconds:      seconds(result.End.Sub(result.Start)),
		CriticalPath: []DocumentLink{}, Steps: []DocumentStep{},
		Unproven: []DocumentRemark{}, Warnings: []DocumentRemark{}, Faults: []DocumentFault{}, Drill: r.drill, Migration: r.migration,
	}
	seen := map[plan.ID]int{} // plans of a run may have steps of the same id
	for _, st := range result.Steps {
		step := documentStep(st, result.Start)
		if len(r.sections) > 1 {
			step.Part = r.partOf(st.ID, seen[st.ID])
		}
		d.Steps = append(d.Steps, step)
		seen[st.ID]++
		for _, caveat := range st.Caveats {
			d.Unproven = append(d.Unproven, DocumentRemark{st.ID, caveat})
		}
		if st.Outcome == plan.Unproven && len(st.Caveats) == 0 {
			d.Unproven = append(d.Unproven, DocumentRemark{st.ID, step.Title})
		}
		for _, warning := range st.Warnings {
			d.Warnings = append(d.Warnings, DocumentRemark{st.ID, warning})
		}
	}
	d.Unproven, d.Warnings = once(d.Unproven), once(d.Warnings)
	d.link(result.CriticalPath)
	for _, one := range fault.All(err) {
		d.Faults = append(d.Faults, DocumentFault{fault.Wording(one), fault.Hints(one)})
	}
	return d
}

// once leaves out what an earlier plan of the run has told of a step of the same id.
func once(remarks []DocumentRemark) []DocumentRemark {
	told := map[DocumentRemark]bool{}
	return slices.DeleteFunc(remarks, func(r DocumentRemark) bool {
		before := told[r]
		told[r] = true
		return before
	})
}

func documentStep(st engine.StepResult, origin time.Time) DocumentStep {
	d := DocumentStep{
		ID: st.ID, Title: st.Title, Phase: st.Phase, Outcome: st.Outcome, Cause: st.Cause, Tries: st.Tries,
		Needs: append([]plan.ID{}, st.Needs...), Caveats: append([]string{}, st.Caveats...),
		Notes: st.Notes, Warnings: st.Warnings, Waits: []DocumentWait{},
	}
	if d.Title == "" {
		d.Title = string(st.ID)
	}
	if !st.Start.IsZero() {
		d.Start, d.Seconds = seconds(st.Start.Sub(origin)), seconds(st.End.Sub(st.Start))
	}
	for _, w := range st.Waits {
		d.Waits = append(d.Waits, DocumentWait{w.For, seconds(w.Start.Sub(origin)), seconds(w.End.Sub(w.Start))})
	}
	if st.Err != nil {
		d.Error, d.Hints = fault.Wording(st.Err), fault.Hints(st.Err)
	}
	return d
}

// link tells the critical path.
func (d *Document) link(path []plan.ID) {
	for _, st := range d.meant(path) {
		d.CriticalPath = append(d.CriticalPath, DocumentLink{d.Steps[st].ID, d.Steps[st].Title, d.Steps[st].Seconds})
	}
}

// meant finds the steps of a critical path. Of steps of the same id the one is meant that did not begin before the link before it.
func (d *Document) meant(path []plan.ID) []int {
	var steps []int
	since := 0.0
	for _, id := range path {
		meant := slices.IndexFunc(d.Steps, func(st DocumentStep) bool { return st.ID == id && st.Start >= since })
		if meant < 0 {
			meant = slices.IndexFunc(d.Steps, func(st DocumentStep) bool { return st.ID == id })
		}
		if meant < 0 {
			continue
		}
		since = d.Steps[meant].Start
		steps = append(steps, meant)
	}
	return steps
}

// partOf is the name of the plan that has the step, after so many plans that have one of the same id.
func (r *run) partOf(id plan.ID, before int) string {
	for _, s := range r.sections {
		if s.index[id] == nil {
			continue
		}
		if before == 0 {
			return s.name
		}
		before--
	}
	return ""
}

func resultOf(err error) string {
	if err == nil {
		return resultProven
	}
	switch fault.KindOf(err) {
	case fault.Refused:
		return resultRefused
	default:
		return resultFailed
	}
}

// seconds gives a length in seconds to the millisecond; a length that ends before it starts is 0.
func seconds(d time.Duration) float64 {
	return math.Max(0, math.Round(d.Seconds()*1000)/1000)
}
