package report

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

//go:embed page.html
var pageTemplate string

// page is what the template shows: the document, and where its times lie on the timeline.
type page struct {
	*Document
	Rows  []pageRow
	Marks []pageMark
	Every float64 // distance of two marks, in percent of the timeline
	Path  []pageLink
}

type pageRow struct {
	DocumentStep
	Anchor   string
	State    string // succeeded, unchanged, unproven, failed, blocked, cancelled: a class and a word
	Critical bool
	Heading  string // of the plan that begins with this row, where there are several
	Left     float64
	Width    float64
	Spans    []pageSpan
	Why      *pageWhy // nil without a wait
	Doubtful bool     // it has caveats that its state does not show already
	NeedRows []pageNeed
}

type pageNeed struct {
	ID     plan.ID
	Anchor string
}

// pageWhy is what a step waited for longest, beside its bar on the side with more room.
type pageWhy struct {
	Text   string
	Before bool
	Room   float64 // in percent of the timeline
}

// pageSpan is a wait on the timeline, in percent of the bar of its step.
type pageSpan struct {
	DocumentWait
	Left, Width float64
}

type pageMark struct {
	Left float64
	Text string
}

type pageLink struct {
	DocumentLink
	Anchor string
	Share  float64 // of the run's length, in percent
}

// writePage writes the page of --report, whole or not at all.
func (r *Reporter) writePage(d *Document) error {
	if r.o.HTML == "" {
		return nil
	}
	err := r.renderPage(d, r.o.HTML)
	if err == nil {
		return nil
	}
	return fault.Wrap(err, fault.Failed, "write the page").On("report").
		WithHint("give --report a file in a folder that exists and can be written")
}

func (r *Reporter) renderPage(d *Document, file string) error {
	clean, err := r.cleaned(d)
	if err != nil {
		return err
	}
	t, err := template.New("page").Funcs(template.FuncMap{"lasting": lasting, "plural": plan.Count[int]}).Parse(pageTemplate)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, newPage(clean)); err != nil {
		return err
	}
	return replaceFile(file, b.Bytes())
}

// cleaned is the document with every text in it cleaned, by the same way as in JSON.
func (r *Reporter) cleaned(d *Document) (*Document, error) {
	raw, err := marshal(d)
	if err != nil {
		return nil, err
	}
	clean := &Document{}
	return clean, json.Unmarshal(r.red.json(raw), clean)
}

// Writable says why the page of a report could not be written to a file, nil when it could. It leaves nothing there.
func Writable(file string) error {
	file, err := replaceable(file)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return unwritable(file, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// unwritable says why a file could not be written that is known by another name until it is whole.
func unwritable(file string, err error) error {
	var at *fs.PathError
	var move *os.LinkError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: the folder %s does not exist", file, filepath.Dir(file))
	case errors.As(err, &at):
		err = at.Err
	case errors.As(err, &move):
		err = move.Err
	}
	return fmt.Errorf("%s: %w", file, err)
}

// replaceable is the file that a page takes the place of: what a symbolic link leads to, and not the link. All but a regular
// file, such as /dev/null or a pipe, is refused: others would find a file where it was.
func replaceable(file string) (string, error) {
	switch info, err := os.Stat(file); {
	case err != nil:
		return file, nil // nothing is there, or else writing says why
	case info.IsDir():
		return "", fmt.Errorf("%s is a folder", file)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is a device or a pipe, and no regular file", file)
	}
	return filepath.EvalSymlinks(file)
}

// replaceFile puts a file in its place in one move, so that a reader never sees half of it.
func replaceFile(file string, content []byte) (err error) {
	if file, err = replaceable(file); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = unwritable(file, err)
		}
	}()
	name := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+"."+rand.Text()[:8])
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) // others read it as far as the user's umask has it
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the error that counts is the first
		}
	}()
	if _, err = f.Write(content); err != nil {
		_ = f.Close()
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

func newPage(d *Document) *page {
	p := &page{Document: d}
	length := d.Seconds
	for _, st := range d.Steps {
		length = math.Max(length, st.Start+st.Seconds)
	}
	var path []plan.ID
	for _, link := range d.CriticalPath {
		path = append(path, link.ID)
	}
	critical := d.meant(path)
	anchors := map[plan.ID]string{} // so far: what a step needs is before it, and plans of a run may have steps of the same id
	part := ""
	for i, st := range d.Steps {
		row := pageRow{
			DocumentStep: st, Anchor: anchor(i), State: stateOf(st), Critical: slices.Contains(critical, i),
			Left: percent(st.Start, length), Width: percent(st.Seconds, length), Spans: spans(st),
		}
		row.Why, row.Doubtful = row.why(), len(st.Caveats) > 0 && row.State != string(plan.Unproven)
		if st.Part != part {
			row.Heading, part = st.Part, st.Part
		}
		for _, need := range st.Needs {
			row.NeedRows = append(row.NeedRows, pageNeed{need, anchors[need]})
		}
		anchors[st.ID] = row.Anchor
		p.Rows = append(p.Rows, row)
	}
	for _, i := range critical {
		st := d.Steps[i]
		p.Path = append(p.Path, pageLink{DocumentLink{st.ID, st.Title, st.Seconds}, anchor(i), percent(st.Seconds, length)})
	}
	p.Marks, p.Every = marks(length)
	return p
}

// anchor is the name of a step's row on the page.
func anchor(step int) string { return fmt.Sprintf("step-%d", step+1) }

func (r *pageRow) why() *pageWhy {
	var longest DocumentWait
	for _, w := range r.Waits {
		if w.Seconds > longest.Seconds {
			longest = w
		}
	}
	if longest.For == "" {
		return nil
	}
	why := &pageWhy{Text: longest.For, Room: percent(100-r.Left-r.Width, 100)}
	if r.Left > why.Room {
		why.Before, why.Room = true, r.Left
	}
	return why
}

// stateOf is how a step is shown: its phase, or what it came to.
func stateOf(st DocumentStep) string {
	switch {
	case st.Phase != engine.Succeeded:
		return string(st.Phase)
	case st.Outcome == plan.Unproven, st.Outcome == plan.Unchanged, st.Outcome == plan.Adopted:
		return string(st.Outcome)
	}
	return string(plan.Changed)
}

func spans(st DocumentStep) []pageSpan {
	var list []pageSpan
	for _, w := range st.Waits {
		list = append(list, pageSpan{w, percent(w.Start-st.Start, st.Seconds), percent(w.Seconds, st.Seconds)})
	}
	return list
}

// percent is a part of a whole, between 0 and 100, to a thousandth.
func percent(part, whole float64) float64 {
	if whole <= 0 || math.IsNaN(part) {
		return 0
	}
	return math.Round(min(100, max(0, 100*part/whole))*1000) / 1000
}

// mostMarks is how many marks the timeline has at most, the one at its start left out.
const mostMarks = 6

// marks places the marks of the timeline at round times.
func marks(length float64) ([]pageMark, float64) {
	if length <= 0 {
		return nil, 100
	}
	steps := []float64{0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600}
	i := slices.IndexFunc(steps, func(s float64) bool { return length/s <= mostMarks })
	every := 3600 * math.Ceil(length/3600/mostMarks)
	if i >= 0 {
		every = steps[i]
	}
	var list []pageMark
	for n := 0; float64(n)*every < length*0.97; n++ {
		list = append(list, pageMark{percent(float64(n)*every, length), markText(float64(n)*every, every)})
	}
	return list, percent(every, length)
}

func markText(at, every float64) string {
	switch {
	case at == 0:
		return "0"
	case every < 1:
		return fmt.Sprintf("%.1fs", at)
	case at < 60:
		return fmt.Sprintf("%.0fs", at)
	}
	return strings.TrimSuffix(fmt.Sprintf("%dm%02ds", int(at)/60, int(at)%60), "00s")
}
