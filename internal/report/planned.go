package report

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/lipgloss"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Plan tells what a plan would do, as the answer to a command: each step with its needs, its reason and what it cannot
// prove. With a preview it also tells what each would change of what there is now; v may be nil.
func (r *Reporter) Plan(p *plan.Plan, v *plan.Preview) error {
	r.halt()
	r.mu.Lock()
	defer r.mu.Unlock()
	section := newSection(p)
	if r.o.Format == JSON {
		r.printJSON(newPlanLine(section, v))
		return r.answered()
	}
	s := &planSheet{sheet: r.newSheet(), preview: v}
	s.line(s.styles.bold, "%s, %s", section.name, plan.Count(len(section.steps), "step"))
	s.line(s.styles.dim, "%s", section.hash)
	for _, b := range branches(section.steps) {
		s.branch(b)
	}
	if v != nil {
		s.conclude(v)
	}
	s.flush()
	return r.answered()
}

// mostChanges is how many changes of a step are shown, unless all are asked for.
const mostChanges = 12

// planSheet is the sheet of a plan.
type planSheet struct {
	*sheet
	preview *plan.Preview // nil without one
}

func (s *planSheet) branch(b branch) {
	margin := s.sign("")
	indent := strings.Repeat("  ", b.depth)
	if b.step == nil {
		s.WriteString(margin)
		s.line(s.styles.bold, "%ss", strings.TrimSuffix(b.kind, "s"))
		return
	}
	st := b.step
	f := s.forecast(st.id)
	s.WriteString(s.sign(f.Effect) + indent + s.r.red.line(st.title) + s.styles.dim.Render("  "+s.r.red.line(string(st.id))+s.aside(f)) + "\n")
	note := func(style lipgloss.Style, format string, args ...any) {
		s.hang(style, margin+indent+"    ", fmt.Sprintf(format, args...))
	}
	shown := f.Changes
	if more := len(shown) - mostChanges; more > 1 && !s.r.o.Verbose {
		shown = append(shown[:mostChanges:mostChanges], fmt.Sprintf("and %d more, which -v shows", more))
	}
	for _, change := range shown {
		note(s.styles.busy, "%s", change)
	}
	if !s.settles(f) || s.r.o.Verbose {
		if len(st.needs) > 0 {
			note(s.styles.dim, "needs %s", joinIDs(st.needs))
		}
		if st.reason != "" {
			note(s.styles.dim, "%s", st.reason)
		}
	}
	for _, caveat := range st.caveats {
		note(s.styles.doubt, "not provable here: %s", caveat)
	}
}

// forecast is what a step would do.
func (s *planSheet) forecast(id plan.ID) plan.Forecast {
	if s.preview == nil {
		return plan.Forecast{}
	}
	return s.preview.Steps[id]
}

// settles says that there is nothing to tell of a step: it was looked at, and would do nothing.
func (s *planSheet) settles(f plan.Forecast) bool {
	return f.Effect == plan.None && s.preview.Found == plan.Exists
}

// aside is a word behind a step that has no sign.
func (s *planSheet) aside(f plan.Forecast) string {
	switch {
	case f.Effect == plan.Unknown:
		return "  not known"
	case f.Effect == plan.None && s.preview.Found == plan.Exists:
		return "  unchanged"
	}
	return ""
}

// sign sets a step off in the margin, which is there with a preview only.
func (s *planSheet) sign(e plan.Effect) string {
	if s.preview == nil {
		return ""
	}
	switch e {
	case plan.Create:
		return s.styles.good.Render("+") + " "
	case plan.Change:
		return s.styles.doubt.Render("~") + " "
	case plan.Remove:
		return s.styles.bad.Render("-") + " "
	case plan.Unknown:
		return s.styles.doubt.Render("?") + " "
	}
	return "  "
}

// conclude tells in the end what is known of the whole.
func (s *planSheet) conclude(v *plan.Preview) {
	var warnings []DocumentRemark
	for _, w := range v.Warnings {
		warnings = append(warnings, DocumentRemark{w.Step, w.Text})
	}
	s.remarks("warnings", warnings)
	s.WriteString("\n")
	s.line(s.styles.bold, "%s: %s", standing(v), strings.Join(tally(v), ", "))
}

// standing says what there is to run the plan on.
func standing(v *plan.Preview) string {
	switch v.Found {
	case plan.Absent:
		return v.Of + " does not exist; up would create it"
	case plan.Empty:
		return v.Of + " has nothing of ours yet; up would install everything"
	case plan.Incomplete:
		return v.Of + " is half-made, or does not run; up would finish it, or start it again"
	case plan.Unreachable:
		return v.Of + " cannot be reached, so that it is not known what up would change"
	}
	return v.Of + " exists"
}

// tally counts the steps by what they would do. What only waits and proves in a cluster that does not exist yet is not
// unchanged.
func tally(v *plan.Preview) []string {
	var parts []string
	for _, kind := range []struct {
		effect plan.Effect
		words  string
	}{{plan.Create, "to create"}, {plan.Change, "to change"}, {plan.Remove, "to remove"}} {
		if n := v.Count(kind.effect); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, kind.words))
		}
	}
	if len(parts) == 0 && v.Count(plan.Unknown) == 0 {
		parts = append(parts, "nothing to change")
	}
	if n := v.Count(plan.None); n > 0 {
		word := "unchanged"
		if v.Found != plan.Exists {
			word = "only to wait and prove"
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, word))
	}
	if n := v.Count(plan.Unknown); n > 0 {
		parts = append(parts, fmt.Sprintf("%d not known", n))
	}
	return parts
}

func joinIDs(ids []plan.ID) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	return strings.Join(names, ", ")
}

// planLine is a plan as JSON. What is not of the plan itself, and not of its hash, is what was found of the cluster.
type planLine struct {
	beginLine
	Cluster  plan.Found       `json:"cluster,omitempty"`
	Effects  *effects         `json:"effects,omitempty"`
	Warnings []DocumentRemark `json:"warnings,omitempty"`
}

// effects counts the steps by what they would do.
type effects struct {
	Create  int `json:"create"`
	Change  int `json:"change"`
	Remove  int `json:"remove"`
	None    int `json:"none"`
	Unknown int `json:"unknown"`
}

func newPlanLine(s *section, v *plan.Preview) planLine {
	line := planLine{beginLine: newBeginLine("plan", s)}
	if v == nil {
		return line
	}
	line.Cluster = v.Found
	line.Effects = &effects{v.Count(plan.Create), v.Count(plan.Change), v.Count(plan.Remove), v.Count(plan.None), v.Count(plan.Unknown)}
	for i := range line.Steps {
		f := v.Steps[line.Steps[i].ID]
		line.Steps[i].Effect, line.Steps[i].Changes = f.Effect, f.Changes
	}
	for _, w := range v.Warnings {
		line.Warnings = append(line.Warnings, DocumentRemark{w.Step, w.Text})
	}
	return line
}
