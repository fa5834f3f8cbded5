package rekindle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/report"
)

// TestTheReportIsThatOfTheCommand: it has all fields of the last line of -o json.
func TestTheReportIsThatOfTheCommand(t *testing.T) {
	ours, theirs := fields(reflect.TypeFor[Report](), ""), fields(reflect.TypeFor[report.Document](), "")
	theirs = slices.DeleteFunc(theirs, func(name string) bool { return name == "/type" })
	if !slices.Equal(ours, theirs) {
		t.Errorf("the report has\n%v\nthat of the command\n%v", ours, theirs)
	}
}

// fields are the JSON names of all fields of a type and of those below.
func fields(in reflect.Type, path string) (all []string) {
	for in.Kind() == reflect.Slice || in.Kind() == reflect.Pointer {
		in = in.Elem()
	}
	if in.Kind() != reflect.Struct || in == reflect.TypeFor[time.Time]() {
		return nil
	}
	for f := range in.Fields() {
		name := path + "/" + strings.Split(f.Tag.Get("json"), ",")[0]
		all = append(append(all, name), fields(f.Type, name)...)
	}
	slices.Sort(all)
	return all
}

// TestAnEventIsALineOfTheCommand: nothing of a line is lost.
func TestAnEventIsALineOfTheCommand(t *testing.T) {
	var out bytes.Buffer
	rep := report.New(&out, io.Discard, report.Options{Format: report.JSON})
	p := plan.New("test")
	p.Add(plan.Step{ID: "only", Title: "only", Reason: "why", Caveats: []string{"c"}, Timeout: time.Second,
		Do: func(context.Context, plan.Progress) (plan.Outcome, error) { return plan.Unchanged, nil }})
	rep.Begin(p)
	for _, e := range []engine.Event{
		{Phase: engine.Running, Update: plan.Update{Waiting: "w", Note: "n", Warning: "x", Done: 1, Total: 2, Unit: "u"}},
		{Phase: engine.Running, Err: fault.New(fault.Failed, "f").WithHint("h"), Retry: time.Second},
		{Phase: engine.Blocked, Cause: "other", Outcome: plan.Changed, Err: errors.New("e")},
	} {
		e.Step, e.Time = "only", time.Now()
		rep.Event(e)
	}
	rep.Message("m")
	rep.Close()
	lines := json.NewDecoder(&out)
	lines.DisallowUnknownFields()
	for n := 0; ; n++ {
		var e Event
		if err := lines.Decode(&e); errors.Is(err, io.EOF) && n == 5 {
			return
		} else if err != nil {
			t.Fatalf("line %d: %v", n, err)
		}
	}
}
