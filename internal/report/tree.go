package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// tree shows progress as a tree of steps that is redrawn in place.
//
// Each redraw is one write that leaves the terminal as it found it: the cursor visible and below the
// tree, no mode set. So there is nothing to restore when the process is killed.
type tree struct {
	r      *Reporter
	styles styles
	glyphs glyphs
	first  int      // the first plan of the run that is in the live part
	drawn  []string // the lines of the live part as they were written last
}

func newTree(r *Reporter) *tree {
	return &tree{r: r, styles: newStyles(r.err.to, r.o.Env), glyphs: newGlyphs(r.o.Env)}
}

func (t *tree) begin(*section) { t.draw(nil) }

func (t *tree) event(e engine.Event, s *step) {
	if t.r.o.Verbose && e.Update.Note != "" {
		t.draw([]string{t.styles.dim.Render(t.r.red.line(string(s.id) + ": " + e.Update.Note))})
	}
}

func (t *tree) message(text string) { t.draw([]string{t.r.red.line(text)}) }

func (t *tree) tick() { t.draw(nil) }

// end draws the whole tree, however long, and leaves it behind.
func (t *tree) end() {
	if t.live() {
		columns, _ := t.r.o.Size()
		t.write(nil, t.whole(columns, t.r.o.Now()))
	}
	t.drawn, t.first = nil, len(t.r.run.sections)
}

func (t *tree) live() bool { return t.first < len(t.r.run.sections) }

// draw writes lines that stay, and the live part below them.
func (t *tree) draw(stay []string) {
	columns, rows := t.r.o.Size()
	var frame []string
	if t.live() {
		frame = t.frame(columns, rows, t.r.o.Now())
	}
	t.write(stay, frame)
}

func (t *tree) write(stay, frame []string) {
	var b strings.Builder
	b.WriteString(ansi.SetSynchronizedOutputMode + ansi.HideCursor + "\r")
	if up := t.height(); up > 0 {
		b.WriteString(ansi.CursorUp(up))
	}
	for _, line := range append(append([]string(nil), stay...), frame...) {
		b.WriteString(line + ansi.EraseLineRight + "\r\n")
	}
	b.WriteString(ansi.EraseScreenBelow + ansi.ShowCursor + ansi.ResetSynchronizedOutputMode)
	_, _ = io.WriteString(t.r.err, t.r.red.Redact(b.String()))
	t.drawn = frame
}

// height is how many rows the live part takes now: a terminal that became narrower has wrapped it.
func (t *tree) height() int {
	columns, _ := t.r.o.Size()
	n := 0
	for _, line := range t.drawn {
		n += max(1, (ansi.StringWidth(line)+columns-1)/max(1, columns))
	}
	return n
}

// frame is the live part, made to fit the terminal.
func (t *tree) frame(columns, rows int, now time.Time) []string {
	head := t.headings(columns, now)
	entries := t.entries(t.r.run.current(), columns, now)
	return append(head, t.fit(entries, rows-1-len(head), columns)...)
}

// whole is the tree with all its steps.
func (t *tree) whole(columns int, now time.Time) []string {
	lines := t.headings(columns, now)
	for _, e := range t.entries(t.r.run.current(), columns, now) {
		lines = append(lines, e.lines...)
	}
	return lines
}

// headings are a line for each earlier plan and the one of the present plan.
func (t *tree) headings(columns int, now time.Time) []string {
	var lines []string
	sections := t.r.run.sections[t.first:]
	for _, s := range sections[:len(sections)-1] {
		took, sign := s.took(now), t.styles.good.Render(t.glyphs.done)
		if succeeded(s.steps) < len(s.steps) {
			sign = t.styles.bad.Render(t.glyphs.failed)
		}
		lines = append(lines, t.fill(sign+" "+t.r.red.line(s.name)+t.styles.dim.Render("  "+plan.Count(len(s.steps), "step")), duration(took), columns))
	}
	current := sections[len(sections)-1]
	name := t.styles.bold.Render(t.r.red.line(current.name))
	count := t.styles.dim.Render("  " + amount(int64(succeeded(current.steps)), int64(len(current.steps)), "steps"))
	return append(lines, t.fill(name+count, duration(now.Sub(t.r.run.start)), columns))
}

// took is from the start of the section's first step to the end of its last.
func (s *section) took(now time.Time) time.Duration { return span(s.steps, now) }

// succeeded counts the steps that did. Those that failed, or never started, are no progress.
func succeeded(steps []*step) int {
	n := 0
	for _, st := range steps {
		if st.phase == engine.Succeeded {
			n++
		}
	}
	return n
}

// span is the time from the first start of some steps to their last end, or to now.
func span(steps []*step, now time.Time) time.Duration {
	var start, end time.Time
	for _, st := range steps {
		if st.start.IsZero() {
			continue
		}
		if start.IsZero() || st.start.Before(start) {
			start = st.start
		}
		until := st.end
		if until.IsZero() {
			until = now
		}
		if until.After(end) {
			end = until
		}
	}
	return end.Sub(start)
}

// widest is the most columns that the tree uses: beyond that the eye loses the line.
const widest = 120

// fill puts a short text at the right end of a line, cutting what is left of it where it must.
func (t *tree) fill(left, right string, columns int) string {
	room := max(1, min(columns, widest)-1)
	space := max(1, room-ansi.StringWidth(right)-1)
	if ansi.StringWidth(left) > space {
		left = ansi.Truncate(left, space, t.glyphs.ellipsis)
	}
	gap := room - ansi.StringWidth(left) - ansi.StringWidth(right)
	return ansi.Truncate(left+strings.Repeat(" ", max(1, gap))+t.styles.dim.Render(right), room, "")
}

// entry is one item of the tree: a step, the heading of a group, or a line about several.
type entry struct {
	class entryClass
	lines []string // as it is shown where there is room
	short string   // on one line
}

// entryClass says in which order entries give way to what matters more.
type entryClass int

const (
	entryActive entryClass = iota // runs, or failed, or groups what does
	entryDone
	entryPending
)

// fit leaves away what matters least until the entries fit: second lines, then steps that have not
// started, then those that ended first, then the last of the rest.
func (t *tree) fit(entries []entry, rows, columns int) []string {
	rows = max(1, rows)
	kept, total := make([]bool, len(entries)), 0
	for i, e := range entries {
		kept[i] = true
		total += len(e.lines)
	}
	if total <= rows {
		var lines []string
		for _, e := range entries {
			lines = append(lines, e.lines...)
		}
		return lines
	}
	left := map[entryClass]int{}
	drop := func(class entryClass, i int) {
		if size := len(entries) - left[entryActive] - left[entryDone] - left[entryPending] + len(left); size > rows && kept[i] && entries[i].class == class {
			kept[i] = false
			left[class]++
		}
	}
	for i := len(entries) - 1; i >= 0; i-- {
		drop(entryPending, i)
	}
	for i := range entries {
		drop(entryDone, i)
	}
	for i := len(entries) - 1; i >= 0; i-- {
		drop(entryActive, i)
	}
	return t.cut(entries, kept, left, rows, columns)
}

// cut gives the entries that were kept, and a line for each class of which some were not.
func (t *tree) cut(entries []entry, kept []bool, left map[entryClass]int, rows, columns int) []string {
	var lines []string
	remark := func(class entryClass, sign, text string) {
		if left[class] > 0 {
			lines = append(lines, t.fill("  "+t.styles.dim.Render(fmt.Sprintf("%s %d %s", sign, left[class], text)), "", columns))
		}
	}
	remark(entryDone, t.glyphs.done, "finished")
	for i, e := range entries {
		if kept[i] {
			lines = append(lines, e.short)
		}
	}
	remark(entryActive, t.glyphs.ellipsis, "more")
	remark(entryPending, t.glyphs.pending, "more to come")
	if len(lines) > rows {
		lines = lines[:rows]
	}
	return lines
}
