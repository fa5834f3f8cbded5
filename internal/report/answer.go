package report

import (
	"encoding/json"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// Object tells one value as the answer to a command: as text, or as one line of JSON with these fields
// and kind as its type.
func (r *Reporter) Object(kind string, fields map[string]string, text string) error {
	return r.answer(typed(kind, fields), text)
}

// Verbatim tells a JSON document as the answer to a command: as text, or on one line. It gets no type,
// which would make it another document.
func (r *Reporter) Verbatim(document json.RawMessage, text string) error {
	return r.answer(document, text)
}

func (r *Reporter) answer(v any, text string) error {
	r.halt()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.o.Format == JSON {
		r.printJSON(v)
	} else {
		r.print(r.out, strings.TrimRight(text, "\n")+"\n")
	}
	return r.answered()
}

// answered says why an answer did not get out whole. A run is worth more than its telling, but an answer is nothing else.
func (r *Reporter) answered() error {
	err := r.out.failure()
	if err == nil {
		return nil
	}
	return fault.Wrap(err, fault.Failed, "the output could not be written").WithHint("what was written of it is not whole: run the same command again where it can be")
}

// typed is an object by whose type a program that reads a stream of lines tells it from all others.
func typed[V any](kind string, fields map[string]V) map[string]any {
	object := map[string]any{"type": kind}
	for name, value := range fields {
		object[name] = value
	}
	return object
}

// None tells a person that a table would have no rows. Programs see that by themselves.
func (r *Reporter) None(text string) {
	r.halt()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.o.Format != JSON {
		r.print(r.err, r.red.line(text)+"\n")
	}
}

// Row is one row of a table.
type Row struct {
	Cells  []string       // for people
	Fields map[string]any // for programs; without any, they get the cells by the names of their columns
}

// Table tells rows as the answer to a command: aligned under their columns, or as one JSON object a row with kind as its type.
func (r *Reporter) Table(kind string, columns []string, rows []Row) error {
	r.halt()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.o.Format == JSON {
		for _, row := range rows {
			if row.Fields == nil {
				row.Fields = map[string]any{}
				for i, cell := range row.Cells {
					row.Fields[columns[i]] = cell
				}
			}
			r.printJSON(typed(kind, row.Fields))
		}
		return r.answered()
	}
	s := r.newSheet()
	widths := make([]int, len(columns))
	clean := make([][]string, 0, len(rows)+1)
	for _, row := range append([]Row{{Cells: columns}}, rows...) {
		cells := make([]string, len(columns))
		for i, cell := range row.Cells {
			cells[i] = r.red.line(cell)
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
	return r.answered()
}
