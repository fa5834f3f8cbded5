package rekindle

import (
	"context"
	"encoding/json"
	"io"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/operate"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/report"
)

// operate lets do its work with a job for the cluster, as one run.
func (c *Cluster) operate(ctx context.Context, do func(ctx context.Context, s *operate.Session, job *bootstrap.Job) error) (*Report, error) {
	return c.tell(ctx, func(caller *operate.Caller) error { return caller.Work(ctx, c.docs, c.options, do) })
}

// tell lets do one operation whose caller is told as the options say, and gives what was told at its end.
func (c *Cluster) tell(ctx context.Context, do func(*operate.Caller) error) (*Report, error) {
	return tell(ctx, c.o, c.caller, do)
}

func tell(ctx context.Context, o Options, caller operate.Caller, do func(*operate.Caller) error) (*Report, error) {
	if o.ReportFile != "" {
		if err := report.Writable(o.ReportFile); err != nil {
			return nil, fault.Wrap(err, fault.Usage, "Options.ReportFile").WithHint("give a file in a folder that exists and can be written")
		}
	}
	told := newTelling(ctx, o, caller.Secrets)
	defer told.close()
	caller.Tell = told
	err := do(&caller)
	return told.report, hide(err, caller.Secrets)
}

// telling tells an operation to everyone who wants to know. What programs get is what -o json prints, read back: so both are
// the same, and secrets are in neither.
type telling struct {
	all    []*report.Reporter
	events func(Event)
	report *Report  // once the operation has ended; nil before
	would  *Preview // once it is known; nil before
}

// newTelling does not wait for a log that stalls once the context has ended. The events are the caller's own: they are waited for.
func newTelling(ctx context.Context, o Options, secrets *report.Redactor) *telling {
	t := &telling{events: o.Events}
	t.all = []*report.Reporter{report.New(t, io.Discard, report.Options{Format: report.JSON, HTML: o.ReportFile, Redactor: secrets})}
	if o.Log != nil {
		t.all = append(t.all, report.New(o.Log, o.Log, report.Options{Format: report.Plain, Redactor: secrets, Hurry: ctx.Done()}))
	}
	return t
}

// Write takes a line of JSON.
func (t *telling) Write(line []byte) (int, error) {
	var event Event
	if err := json.Unmarshal(line, &event); err != nil {
		return 0, err
	}
	switch event.Type {
	case "report":
		t.report = &Report{}
		return len(line), json.Unmarshal(line, t.report)
	case "plan":
		t.would = &Preview{}
		return len(line), json.Unmarshal(line, t.would)
	}
	if t.events != nil {
		t.events(event)
	}
	return len(line), nil
}

// Begin implements operate.Telling.
func (t *telling) Begin(p *plan.Plan) {
	for _, r := range t.all {
		r.Begin(p)
	}
}

// Event implements operate.Telling.
func (t *telling) Event(e engine.Event) {
	for _, r := range t.all {
		r.Event(e)
	}
}

// Message implements operate.Telling.
func (t *telling) Message(text string) {
	for _, r := range t.all {
		r.Message(text)
	}
}

// Drill implements operate.Telling.
func (t *telling) Drill(d report.Drill) {
	for _, r := range t.all {
		r.Drill(d)
	}
}

// Migration implements operate.Telling.
func (t *telling) Migration(m report.Migration) {
	for _, r := range t.all {
		r.Migration(m)
	}
}

// plan tells what would be done.
func (t *telling) plan(up *plan.Plan, would *plan.Preview) error {
	for _, r := range t.all {
		if err := r.Plan(up, would); err != nil {
			return err
		}
	}
	return nil
}

// End implements operate.Telling. The page is written by the first, so that the others tell it too if it cannot be.
func (t *telling) End(result *engine.Result, err error) error {
	for _, r := range t.all {
		err = r.End(result, err)
	}
	return err
}

func (t *telling) close() {
	for _, r := range t.all {
		r.Close()
	}
}
