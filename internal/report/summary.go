package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// sheet is text for the output stream, built line by line.
type sheet struct {
	strings.Builder
	r      *Reporter
	styles styles
	glyphs glyphs
}

func (r *Reporter) newSheet() *sheet {
	return &sheet{r: r, styles: newStyles(r.out, r.o.Env), glyphs: newGlyphs(r.o.Env)}
}

// line adds a line. Its arguments are cleaned, its format is not: styles go around the whole.
func (s *sheet) line(style lipgloss.Style, format string, args ...any) {
	s.WriteString(style.Render(s.r.red.line(fmt.Sprintf(format, args...))) + "\n")
}

func (s *sheet) flush() { _, _ = io.WriteString(s.r.out, s.r.red.Redact(s.String())) }

// summary is what a person reads at the end of a run.
func (r *Reporter) summary(d *Document) {
	s := r.newSheet()
	s.result(d)
	s.path(d)
	s.remarks("not provable here", d.Unproven)
	s.remarks("warnings", d.Warnings)
	s.flush()
}

func (s *sheet) result(d *Document) {
	style, sign := s.styles.good.Bold(true), s.glyphs.done
	if d.Result != resultProven {
		style, sign = s.styles.bad, s.glyphs.failed
	}
	parts := []string{plural(d.Changes, "change"), plural(len(d.Steps), "step")}
	for _, phase := range []engine.Phase{engine.Failed, engine.Blocked, engine.Cancelled} {
		if n := d.count(phase); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, phase))
		}
	}
	if n := len(d.Unproven); n > 0 {
		parts = append(parts, fmt.Sprintf("%d not provable here", n))
	}
	s.WriteString(style.Render(sign+" "+d.Result) + "  ")
	s.WriteString(s.r.red.line(fmt.Sprintf("%s in %s: %s", d.Name, lasting(d.Seconds), strings.Join(parts, ", "))) + "\n")
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

// path shows the critical path, each link with its time and its longest wait.
func (s *sheet) path(d *Document) {
	if len(d.CriticalPath) == 0 {
		return
	}
	s.line(s.styles.bold, "critical path")
	longest, width := 0.0, 0
	for _, link := range d.CriticalPath {
		longest = max(longest, link.Seconds)
		width = max(width, ansi.StringWidth(s.r.red.line(link.Title)))
	}
	width = min(width, pathColumns)
	for _, link := range d.CriticalPath {
		title := ansi.Truncate(s.r.red.line(link.Title), width, s.glyphs.ellipsis)
		full := 0
		if longest > 0 {
			full = int(link.Seconds / longest * barWidth)
		}
		gap := strings.Repeat(" ", width-ansi.StringWidth(title))
		fmt.Fprintf(s, "  %s%s  %7s  %s\n", title, gap, lasting(link.Seconds), s.styles.busy.Render(strings.Repeat(s.glyphs.full, full)))
	}
}

func (s *sheet) remarks(heading string, remarks []DocumentRemark) {
	if len(remarks) == 0 {
		return
	}
	s.line(s.styles.bold, "%s", heading)
	for _, remark := range remarks {
		s.line(s.styles.doubt, "  %s: %s", remark.Step, remark.Text)
	}
}

// Plan tells what a plan would do, as the answer to a command: each step with its needs, its reason
// and what it cannot prove.
func (r *Reporter) Plan(p *plan.Plan) error {
	r.halt()
	r.mu.Lock()
	defer r.mu.Unlock()
	section := newSection(p)
	if r.o.Format == JSON {
		r.printJSON(newBeginLine("plan", section))
		return nil
	}
	s := r.newSheet()
	s.line(s.styles.bold, "%s, %s", section.name, plural(len(section.steps), "step"))
	s.line(s.styles.dim, "%s", section.hash)
	for _, b := range branches(section.steps) {
		s.branch(b)
	}
	s.flush()
	return nil
}

func (s *sheet) branch(b branch) {
	indent := strings.Repeat("  ", b.depth)
	if b.step == nil {
		s.line(s.styles.bold, "%ss", strings.TrimSuffix(b.kind, "s"))
		return
	}
	st := b.step
	s.WriteString(indent + s.r.red.line(st.title) + s.styles.dim.Render("  "+s.r.red.line(string(st.id))) + "\n")
	note := func(style lipgloss.Style, format string, args ...any) {
		s.WriteString(indent + "    ")
		s.line(style, format, args...)
	}
	if len(st.needs) > 0 {
		note(s.styles.dim, "needs %s", joinIDs(st.needs))
	}
	if st.reason != "" {
		note(s.styles.dim, "%s", st.reason)
	}
	for _, caveat := range st.caveats {
		note(s.styles.doubt, "not provable here: %s", caveat)
	}
}

func joinIDs(ids []plan.ID) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	return strings.Join(names, ", ")
}

// Object tells one value as the answer to a command: as text, or as one line of JSON made from v.
func (r *Reporter) Object(v any, text string) error {
	r.halt()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.o.Format == JSON {
		r.printJSON(v)
		return nil
	}
	r.print(r.out, strings.TrimRight(text, "\n")+"\n")
	return nil
}

// Table tells rows as the answer to a command: aligned under their columns, or as one JSON object a
// row with the columns as its keys and kind as its type.
func (r *Reporter) Table(kind string, columns []string, rows [][]string) error {
	r.halt()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.o.Format == JSON {
		for _, row := range rows {
			object := map[string]string{"type": kind}
			for i, cell := range row {
				if i < len(columns) {
					object[columns[i]] = cell
				}
			}
			r.printJSON(object)
		}
		return nil
	}
	s := r.newSheet()
	widths := make([]int, len(columns))
	clean := make([][]string, 0, len(rows)+1)
	for _, row := range append([][]string{columns}, rows...) {
		cells := make([]string, len(columns))
		for i := range min(len(row), len(columns)) {
			cells[i] = r.red.line(row[i])
			widths[i] = max(widths[i], ansi.StringWidth(cells[i]))
		}
		clean = append(clean, cells)
	}
	for n, cells := range clean {
		var b strings.Builder
		for i, cell := range cells {
			if n == 0 {
				cell = strings.ToUpper(cell)
			}
			b.WriteString(cell + strings.Repeat(" ", widths[i]-ansi.StringWidth(cell)+2))
		}
		style := s.styles.bold
		if n > 0 {
			style = lipgloss.NewStyle()
		}
		s.WriteString(style.Render(strings.TrimRight(b.String(), " ")) + "\n")
	}
	s.flush()
	return nil
}
