// Package report tells a person or a program what a run does and what became of it. It is the only
// package that prints. It knows plans, events and results; it knows no Kubernetes and no command.
//
// # Where things go
//
// In text, progress, prompts and faults go to the error stream; what a command was asked for (the
// summary of a run, a plan, a table) goes to the output stream. On a terminal progress is a live
// tree, elsewhere it is plain lines, one for each start, wait and end:
//
//	12.3s  wait       release/cert-manager: webhook has no endpoints yet
//
// that is: seconds since the start of the run, one word (begin, start, wait, count, retry, note,
// warn, done, failed, blocked, cancelled, message), the id of the step, and what is told of it. A
// terminal with TERM=dumb and a run with CI set get plain lines too. NO_COLOR takes the colours away.
//
// # JSON
//
// As JSON everything but prompts goes to the output stream, one object a line, told apart by "type":
//
//	begin    name, plan (its hash), steps: [{id, title, reason, needs, caveats, timeoutSeconds}]
//	event    time, step, phase (pending, running, succeeded, failed, blocked, cancelled), and what
//	         applies of: outcome, waiting, note, warning, done, total, unit, error, hints,
//	         retrySeconds, cause (the id of the step that really failed)
//	message  text
//	plan     name, plan, steps as in begin, each with effect and changes; cluster, effects, warnings
//	report   the last line of a run, and of a command that failed; see [Document]
//
// A table is one object a row, with the type that its command gives: cluster, set, asset. So is an
// object: server, version. Only the schema has no type, since it is a document of its own. A run of two plans (prepare, then do) has two
// begin lines and one report. docs/json.md has them all with examples.
//
// # What is kept out
//
// Every text passes the [Redactor] on its way out, in each format, and loses terminal sequences and
// other control characters.
package report

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Format says how a run is told.
type Format int

// The formats.
const (
	Text  Format = iota // Tree on a terminal, Plain elsewhere
	Tree                // a tree that is redrawn in place
	Plain               // lines
	JSON                // one object a line
)

// ParseFormat reads the value of -o.
func ParseFormat(s string) (Format, error) {
	switch s {
	case "", "text":
		return Text, nil
	case "json":
		return JSON, nil
	}
	return Text, fault.New(fault.Usage, "unknown output format %q", s).WithHint("use -o text or -o json")
}

// Options of a Reporter. The zero value is usable.
type Options struct {
	Format   Format
	HTML     string // the file that gets the report of the run as a page; empty is none
	Verbose  bool   // tell every note and every change of what a step waits for
	Redactor *Redactor

	// Hurry is closed when the run is to end. Until then telling waits for an output that stalls; nil never closes.
	Hurry <-chan struct{}

	Now  func() time.Time           // the clock; nil is time.Now
	Env  func(string) string        // the environment; nil is os.Getenv
	Size func() (columns, rows int) // of the terminal; nil asks it
}

// tickEvery is how often a display may tell what only time changed: a spinner, an elapsed time, a
// wait that was held back.
const tickEvery = 100 * time.Millisecond

// A display shows the progress of a run. The Reporter calls it under its lock.
type display interface {
	begin(*section)
	event(engine.Event, *step)
	message(text string)
	tick()
	end() // shows what was held back; nothing is shown afterwards until the next begin
}

// Reporter tells a run. Its methods may be called from several goroutines.
type Reporter struct {
	out, err *outlet
	o        Options
	red      *Redactor

	mu      sync.Mutex
	run     run
	display display
	stop    func() // ends the ticker; nil while there is none
	over    bool   // the last line is told
}

// New makes a Reporter. It starts nothing: a run begins with Begin.
func New(out, errOut io.Writer, o Options) *Reporter {
	if o.Redactor == nil {
		o.Redactor = NewRedactor()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Env == nil {
		o.Env = os.Getenv
	}
	if o.Size == nil {
		o.Size = sizeOf(errOut)
	}
	if o.Format == Text {
		o.Format = textFormat(errOut, o.Env)
	}
	r := &Reporter{out: newOutlet(out, o.Hurry), err: newOutlet(errOut, o.Hurry), o: o, red: o.Redactor}
	switch o.Format {
	case JSON:
		r.display = &lines{out: r.printJSON}
	case Tree:
		r.display = newTree(r)
	default:
		r.display = &plain{r: r}
	}
	return r
}

// Begin tells that a plan is about to run. A run may be several plans one after another.
func (r *Reporter) Begin(p *plan.Plan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.run.begin(p, r.o.Now())
	r.display.begin(s)
	if r.stop == nil && r.o.Format != JSON {
		r.stop = r.startTicker()
	}
}

// Event tells one event of the plan that began last. An event of a step that no plan has is told
// under the step's id.
func (r *Reporter) Event(e engine.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.run.apply(e, r.o.Now())
	r.display.event(e, s)
}

// Message tells something that belongs to no step. It does not disturb the tree. After the end it is not told: the
// report is the last line.
func (r *Reporter) Message(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.display.message(text)
	}
}

// Pause ends the live display, so that another program can write to the terminal, and says what begins.
// The display goes on with the next plan.
func (r *Reporter) Pause(text string) {
	r.halt()
	r.Message(text)
}

// Ask shows a prompt on the error stream, whatever the format.
func (r *Reporter) Ask(prompt string) {
	r.halt()
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = io.WriteString(r.err, r.red.line(prompt))
}

// End tells what became of the run: err is why the command fails, nil when all is proven. It writes
// the page of [Options].HTML. It returns err, or why the page could not be written, marked as told,
// so that Fault will not tell it again.
func (r *Reporter) End(result *engine.Result, err error) error {
	r.halt()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	doc := newDocument(&r.run, result, err)
	if page := r.writePage(doc); page != nil {
		err = fault.Join(err, page)
		doc = newDocument(&r.run, result, err)
	}
	if r.o.Format == JSON {
		r.printJSON(doc)
	} else {
		r.print(r.err, fault.Text(err))
		r.summary(doc)
	}
	if err == nil {
		return nil
	}
	return &toldError{err}
}

// Fault tells the error that ends a command, unless End told it. A command that has no run still
// gets its page and, as JSON, its last line: a report without steps. It returns err, with why the page could not be written.
func (r *Reporter) Fault(err error) error {
	r.halt()
	var told *toldError
	if err == nil || errors.As(err, &told) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	doc := newDocument(&r.run, nil, err)
	if page := r.writePage(doc); page != nil {
		err = fault.Join(err, page)
		doc = newDocument(&r.run, nil, err)
	}
	if r.o.Format == JSON {
		r.printJSON(doc)
	}
	if r.o.Format != JSON || r.out.failure() != nil { // else nobody would be told
		r.print(r.err, fault.Text(err))
	}
	return err
}

// Close ends what is still shown. It may be called more than once.
func (r *Reporter) Close() {
	r.halt()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err.wait()
	r.out.wait()
}

// toldError is an error that the report of a run has shown.
type toldError struct{ error }

func (e *toldError) Unwrap() error { return e.error }

// startTicker lets time pass on the display until the function it returns is called, which waits
// for it.
func (r *Reporter) startTicker() (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(tickEvery)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				r.mu.Lock()
				r.display.tick()
				r.mu.Unlock()
			}
		}
	}()
	return func() { close(quit); <-done }
}

// halt ends the live display.
func (r *Reporter) halt() {
	r.mu.Lock()
	stop := r.stop
	r.stop = nil
	r.mu.Unlock()
	if stop != nil {
		stop() // not under the lock, which the ticker takes
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.display.end()
}

// print writes text that is free of control characters but for line ends. An output that cannot be
// written (a closed pipe) does not end a run: what a run does is worth more than its telling.
func (r *Reporter) print(w *outlet, text string) {
	if text != "" {
		_, _ = io.WriteString(w, r.red.text(text))
	}
}
