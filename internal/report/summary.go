package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// sheet is text for the output stream, built line by line.
type sheet struct {
	strings.Builder
	r       *Reporter
	styles  styles
	glyphs  glyphs
	columns int // of the terminal; 0 where lines are not wrapped
}

func (r *Reporter) newSheet() *sheet {
	s := &sheet{r: r, styles: newStyles(r.out.to, r.o.Env), glyphs: newGlyphs(r.o.Env)}
	if isTerminal(r.out.to) {
		s.columns, _ = sizeOf(r.out.to)()
	}
	return s
}

// line adds a line, cleaned.
func (s *sheet) line(style lipgloss.Style, format string, args ...any) {
	s.hang(style, "", fmt.Sprintf(format, args...))
}

// hang adds a text below an indent; on a terminal it is wrapped there, between words.
func (s *sheet) hang(style lipgloss.Style, indent, text string) {
	text = s.r.red.line(text)
	if s.columns > 0 {
		text = ansi.Wrap(text, max(20, s.columns-1-len(indent)), "")
	}
	for _, line := range strings.Split(text, "\n") {
		s.WriteString(indent + style.Render(line) + "\n")
	}
}

func (s *sheet) flush() { _, _ = io.WriteString(s.r.out, s.r.red.Redact(s.String())) }

// summary is what a person reads at the end of a run.
func (r *Reporter) summary(d *Document) {
	s := r.newSheet()
	if s.columns > 0 {
		s.WriteString("\n") // the tree is above
	}
	s.result(d)
	s.path(d)
	s.drill(d.Drill)
	s.migration(d.Migration)
	s.remarks("not provable here", d.Unproven)
	s.remarks("warnings", d.Warnings)
	s.flush()
}

func (s *sheet) result(d *Document) {
	style, sign := s.styles.good.Bold(true), s.glyphs.done
	if d.Result != resultProven {
		style, sign = s.styles.bad, s.glyphs.failed
	}
	parts := []string{plan.Count(d.Changes, "change"), plan.Count(len(d.Steps), "step")}
	for _, phase := range []engine.Phase{engine.Failed, engine.Blocked, engine.Cancelled} {
		if n := d.count(phase); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, phase))
		}
	}
	if n := len(d.Unproven); n > 0 {
		parts = append(parts, fmt.Sprintf("%d not provable here", n))
	}
	s.WriteString(style.Render(sign+" "+d.Result) + "  ")
	s.WriteString(s.styles.bold.Render(s.r.red.line(fmt.Sprintf("%s in %s", d.Name, lasting(d.Seconds)))) + "\n")
	s.hang(s.styles.dim, "  ", strings.Join(parts, ", "))
}

func (d *Document) count(phase engine.Phase) int {
	n := 0
	for _, st := range d.Steps {
		if st.Phase == phase {
			n++
		}
	}
	return n
}

// pathColumns is the widest title that the critical path shows whole.
const pathColumns = 48

// brief is below what a person would want to know of a link of the critical path, in seconds.
const brief = 0.05

// path shows the critical path, each link with its time. The links that took no time are left out here;
// JSON and the page have them.
func (s *sheet) path(d *Document) {
	links := slices.DeleteFunc(slices.Clone(d.CriticalPath), func(l DocumentLink) bool { return l.Seconds < brief })
	if len(links) == 0 {
		return
	}
	s.WriteString("\n")
	s.line(s.styles.bold, "critical path")
	longest, width := 0.0, 0
	for _, link := range links {
		longest = max(longest, link.Seconds)
		width = max(width, ansi.StringWidth(s.r.red.line(link.Title)))
	}
	width = min(width, pathColumns)
	if s.columns > 0 {
		width = min(width, max(8, s.columns-barWidth-15)) // 15 are the spaces and the time
	}
	for _, link := range links {
		title := ansi.Truncate(s.r.red.line(link.Title), width, s.glyphs.ellipsis)
		full := 0
		if longest > 0 {
			full = int(link.Seconds / longest * barWidth)
		}
		gap := strings.Repeat(" ", width-ansi.StringWidth(title))
		line := fmt.Sprintf("  %s%s  %7s  %s", title, gap, lasting(link.Seconds), s.styles.busy.Render(strings.Repeat(s.glyphs.full, full)))
		s.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

func (s *sheet) remarks(heading string, remarks []DocumentRemark) {
	if len(remarks) == 0 {
		return
	}
	s.WriteString("\n")
	s.line(s.styles.bold, "%s", heading)
	for _, remark := range remarks {
		s.hang(s.styles.doubt, "  ", fmt.Sprintf("%s: %s", remark.Step, remark.Text))
	}
}
