package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// branch is a node of the tree: a step, or a heading over steps of one kind.
type branch struct {
	step  *step
	kind  string  // of a heading
	steps []*step // below a heading, as a tree by needs, flattened
	depth int
}

// kindOf is the part of an id before the slash: "release" of "release/cert-manager".
func kindOf(id plan.ID) string {
	kind, _, found := strings.Cut(string(id), "/")
	if !found {
		return ""
	}
	return kind
}

// branches orders the steps of a section: those of one kind are together under a heading, and there
// each is below the last of its needs that is of its kind too. Where all are of one kind, the
// section's own heading is enough.
func branches(steps []*step) []branch {
	kinds := map[string][]*step{}
	for _, st := range steps {
		kinds[kindOf(st.id)] = append(kinds[kindOf(st.id)], st)
	}
	var all []branch
	for _, st := range steps {
		kind := kindOf(st.id)
		members := kinds[kind]
		switch {
		case kind == "" || len(members) == 1:
			all = append(all, branch{step: st})
		case len(members) == len(steps):
			return nested(members, 0)
		case members[0] == st:
			all = append(all, branch{kind: kind, steps: members})
			all = append(all, nested(members, 1)...)
		}
	}
	return all
}

// nested puts each step below the last of its needs among the others. Steps in single file are a
// list: their order says it all.
func nested(members []*step, top int) []branch {
	at := map[plan.ID]int{}
	for i, st := range members {
		at[st.id] = i
	}
	below := map[int][]int{} // -1 is the top
	deeper := 0
	for i, st := range members {
		parent := -1
		for _, need := range st.needs {
			if j, ok := at[need]; ok && j < i {
				parent = max(parent, j)
			}
		}
		below[parent] = append(below[parent], i)
		if len(below[parent]) > 1 {
			deeper = 1 // more than one is below the same
		}
	}
	var list []branch
	var walk func(parent, depth int)
	walk = func(parent, depth int) {
		for _, i := range below[parent] {
			list = append(list, branch{step: members[i], depth: depth})
			walk(i, depth+deeper)
		}
	}
	walk(-1, top)
	return list
}

// entries are the lines below a section's heading. Steps that never started because of another are
// one line for all of them, with the step that is to blame.
func (t *tree) entries(s *section, columns int, now time.Time) []entry {
	var list []entry
	for _, b := range branches(s.steps) {
		switch {
		case b.step == nil:
			list = append(list, t.heading(b, columns, now))
		case b.step.phase == engine.Blocked, b.step.phase == engine.Cancelled && b.step.start.IsZero():
		default:
			list = append(list, t.stepEntry(b, columns, now))
		}
	}
	return append(list, t.skipped(s, columns)...)
}

// skipped tells of the steps that never started.
func (t *tree) skipped(s *section, columns int) []entry {
	var causes []plan.ID
	blocked := map[plan.ID][]string{}
	cancelled := 0
	for _, st := range s.steps {
		switch {
		case st.phase == engine.Blocked:
			if blocked[st.cause] == nil {
				causes = append(causes, st.cause)
			}
			blocked[st.cause] = append(blocked[st.cause], string(st.id))
		case st.phase == engine.Cancelled && st.start.IsZero():
			cancelled++
		}
	}
	var list []entry
	for _, cause := range causes {
		text := fmt.Sprintf("%s blocked by %s: %s", plan.Count(len(blocked[cause]), "step"), cause, strings.Join(blocked[cause], ", "))
		line := t.fill("  "+t.styles.doubt.Render(t.glyphs.blocked)+" "+t.r.red.line(text), "", columns)
		list = append(list, entry{class: entryActive, lines: []string{line}, short: line})
	}
	if cancelled > 0 {
		line := t.fill("  "+t.styles.dim.Render(t.glyphs.cancelled+" "+plan.Count(cancelled, "step")+" not started"), "", columns)
		list = append(list, entry{class: entryActive, lines: []string{line}, short: line})
	}
	return list
}

func (t *tree) heading(b branch, columns int, now time.Time) entry {
	settled, class := false, entryDone
	phase := engine.Succeeded
	for _, st := range b.steps {
		settled = settled || st.settled()
		if rank(st.phase) > rank(phase) {
			phase = st.phase
		}
	}
	switch {
	case phase == engine.Pending && settled:
		phase, class = engine.Running, entryActive
	case phase == engine.Pending:
		class = entryPending
	case phase != engine.Succeeded:
		class = entryActive
	}
	name := b.kind
	if !strings.HasSuffix(name, "s") {
		name += "s"
	}
	left := "  " + t.sign(phase, "", now) + " " + t.r.red.line(name) + "  " + t.bar(int64(succeeded(b.steps)), int64(len(b.steps)), "")
	line := t.fill(left, elapsed(span(b.steps, now)), columns)
	return entry{class: class, lines: []string{line}, short: line}
}

// rank orders phases by what a heading should show of its steps.
func rank(p engine.Phase) int {
	switch p {
	case engine.Succeeded:
		return 0
	case engine.Pending:
		return 1
	case engine.Blocked:
		return 2
	case engine.Cancelled:
		return 3
	case engine.Running:
		return 4
	default:
		return 5
	}
}

func (t *tree) stepEntry(b branch, columns int, now time.Time) entry {
	st := b.step
	indent := strings.Repeat("  ", b.depth+1)
	left := indent + t.sign(st.phase, st.outcome, now) + " " + t.title(st)
	if st.total > 0 && st.phase == engine.Running {
		left += "  " + t.bar(st.done, st.total, st.unit)
	}
	right := elapsed(st.took(now))
	detail := t.detail(st)
	if detail == "" {
		line := t.fill(left, right, columns)
		return entry{class: classOf(st), lines: []string{line}, short: line}
	}
	joined := left + "  " + detail
	e := entry{class: classOf(st), short: t.fill(joined, right, columns)}
	room := min(columns, widest) - 2 - ansi.StringWidth(right)
	if ansi.StringWidth(joined) <= room || st.phase == engine.Succeeded {
		e.lines = []string{e.short}
	} else {
		e.lines = []string{t.fill(left, right, columns), t.fill(indent+"  "+detail, "", columns)}
	}
	return e
}

func classOf(st *step) entryClass {
	switch st.phase {
	case engine.Pending:
		return entryPending
	case engine.Succeeded:
		return entryDone
	default:
		return entryActive
	}
}

func (t *tree) title(st *step) string {
	title := t.r.red.line(st.title)
	if st.phase == engine.Pending {
		return t.styles.dim.Render(title)
	}
	return title
}

// detail is what a step waits for, why it failed, or what it found.
func (t *tree) detail(st *step) string {
	text := func(s string) string { return t.r.red.line(s) }
	switch st.phase {
	case engine.Running:
		if st.waiting != "" {
			return t.styles.busy.Render(text(st.waiting))
		}
	case engine.Failed:
		if st.failure != "" {
			return t.styles.bad.Render(text(st.failure))
		}
	case engine.Cancelled:
		return t.styles.dim.Render("stopped")
	case engine.Succeeded:
		switch {
		case st.outcome == plan.Unproven:
			return t.styles.doubt.Render("not provable here")
		case len(st.caveats) > 0:
			return t.styles.doubt.Render(text("not provable here: " + strings.Join(st.caveats, ", ")))
		case st.note != "":
			return t.styles.dim.Render(text(st.note))
		case st.outcome != plan.Changed:
			return t.styles.dim.Render(text(string(st.outcome)))
		}
	}
	return ""
}

func (t *tree) sign(phase engine.Phase, outcome plan.Outcome, now time.Time) string {
	switch phase {
	case engine.Running:
		turn := now.UnixMilli() / tickEvery.Milliseconds()
		return t.styles.busy.Render(t.glyphs.spin[int(turn%int64(len(t.glyphs.spin)))])
	case engine.Succeeded:
		if outcome == plan.Unproven {
			return t.styles.doubt.Render(t.glyphs.unproven)
		}
		return t.styles.good.Render(t.glyphs.done)
	case engine.Failed:
		return t.styles.bad.Render(t.glyphs.failed)
	case engine.Blocked:
		return t.styles.doubt.Render(t.glyphs.blocked)
	case engine.Cancelled:
		return t.styles.dim.Render(t.glyphs.cancelled)
	default:
		return t.styles.dim.Render(t.glyphs.pending)
	}
}

// barWidth is the length of a bar in cells.
const barWidth = 10

// bar shows how much of a total is done.
func (t *tree) bar(done, total int64, unit string) string {
	full := 0
	if total > 0 {
		full = int(float64(min(max(done, 0), total)) / float64(total) * barWidth)
	}
	return t.styles.good.Render(strings.Repeat(t.glyphs.full, full)) +
		t.styles.dim.Render(strings.Repeat(t.glyphs.empty, barWidth-full)+" "+t.r.red.line(amount(done, total, unit)))
}

// elapsed is a duration, or nothing for a step that did not start.
func elapsed(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return duration(d)
}
