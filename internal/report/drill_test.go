package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// drilled is what a drill measured that found something.
func drilled(before *DrillBaseline) Drill {
	return Drill{
		Set: "20261123-060000-cccccc", SetTime: time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC),
		RTOSeconds: 100, RPOSeconds: 4000, RPOBy: "the snapshot set", Baseline: before,
		Slowest:  []DocumentLink{{ID: "provision", Title: "make the cluster", Seconds: 40}, {ID: "keys", Title: "no time at all", Seconds: 0.01}},
		Data:     []DrillData{{Claim: "shop/data", Files: 3, Bytes: 3 << 20, AgeSeconds: 5000, Newest: "pg/wal"}, {Claim: "shop/empty"}},
		Held:     []string{"Deployment dns/external-dns " + secret},
		Findings: []DrillFinding{{Kind: "missing", Object: "Secret shop/kept", Text: "the cluster does not have it"}},
	}
}

// tellDrill runs a reporter over a run that is none, with a drill in it.
func tellDrill(t *testing.T, format Format, d Drill) (text, page string) {
	t.Helper()
	return tellWith(t, format, func(r *Reporter) { r.Drill(d) })
}

// tellWith runs a reporter over a run that is none, to which something is added.
func tellWith(t *testing.T, format Format, add func(*Reporter)) (text, page string) {
	t.Helper()
	out, file := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "page.html")
	w, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	red := NewRedactor()
	red.Add(secret)
	r := New(w, w, Options{Format: format, HTML: file, Redactor: red, Env: func(string) string { return "" }})
	add(r)
	_ = r.End(&engine.Result{Name: "drill shop"}, nil)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{string(raw), string(html)} {
		if strings.Contains(where, secret) {
			t.Error("the secret was told")
		}
	}
	return string(raw), string(html)
}

func TestADrillIsToldInEveryFormat(t *testing.T) {
	text, page := tellDrill(t, Plain, drilled(&DrillBaseline{RTOSeconds: 90, RPOSeconds: 5000}))
	for _, want := range []string{
		"RTO        1m40s from the start until all was proven; 10.0s more than the last time",
		"RPO        1h07m, the age of the snapshot set; 16m40s less than the last time",
		"slow       40.0s, make the cluster",
		"data       shop/data: 3.0 MiB in 3 files, the newest of them 1h23m old (pg/wal)",
		"data       shop/empty: 0 B in 0 files",
		"held back  Deployment dns/external-dns",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
		if _, fact, _ := strings.Cut(want, "  "); !strings.Contains(page, strings.TrimSpace(fact)) {
			t.Errorf("no %q on the page", fact)
		}
	}
	if strings.Contains(text, "no time at all") {
		t.Error("a step that took no time is told as slow")
	}
	if text, _ := tellDrill(t, Plain, Drill{}); !strings.Contains(text, "RTO        unknown") || strings.Contains(text, "RPO") {
		t.Errorf("of a drill that ended before the proof:\n%s", text)
	}
}

// What a drill printed is the baseline of the next.
func TestADrillIsTheBaselineOfTheNext(t *testing.T) {
	text, _ := tellDrill(t, JSON, drilled(nil))
	var doc Document
	if err := json.Unmarshal([]byte(text), &doc); err != nil || len(doc.Drill.Findings) != 1 || doc.Drill.Data[1].Claim != "shop/empty" {
		t.Fatalf("%v in %s", err, text)
	}
	file := filepath.Join(t.TempDir(), "last.json")
	if err := os.WriteFile(file, []byte(`{"type":"message","text":"before it"}`+"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ReadBaseline(file)
	if err != nil || *got != (DrillBaseline{File: file, RTOSeconds: 100, RPOSeconds: 4000}) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.WriteFile(file, []byte(`{"type":"report","result":"proven"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadBaseline(file); fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Text(err), "has no report of a drill") {
		t.Errorf("of a run that was none: %v", err)
	}
	if _, err := ReadBaseline(file + ".not"); fault.KindOf(err) != fault.Usage {
		t.Errorf("of no file: %v", err)
	}
	if got, err := ReadBaseline(""); got != nil || err != nil {
		t.Errorf("without one: %v, %v", got, err)
	}
}

// A run that makes a cluster and takes it away again has steps of the same id in both plans.
func TestStepsOfTheSameIDAreToldApart(t *testing.T) {
	begun := time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return begun.Add(time.Duration(s) * time.Second) }
	step := func(id plan.ID, title string, from, to int) engine.StepResult {
		return engine.StepResult{ID: id, Title: title, Phase: engine.Succeeded, Start: at(from), End: at(to)}
	}
	up := &engine.Result{Name: "up", Start: begun, End: at(5), CriticalPath: []plan.ID{"provision", "context"},
		Steps: []engine.StepResult{step("provision", "make it", 0, 4), step("context", "add the context", 4, 5), step("lease", "take the lease", 4, 5)}}
	down := &engine.Result{Name: "down", Start: at(5), End: at(9), CriticalPath: []plan.ID{"delete", "context"},
		Steps: []engine.StepResult{step("lease", "take it again", 5, 6), step("delete", "delete it", 5, 7), step("context", "remove the context", 7, 9)}}
	up.Steps[1].Needs, down.Steps[1].Needs, down.Steps[2].Needs = []plan.ID{"provision"}, []plan.ID{"lease"}, []plan.ID{"delete"}
	r := &run{}
	for _, name := range []string{"up", "down"} {
		p := plan.New(name)
		p.Add(plan.Step{ID: "context", Do: does(plan.Unchanged, nil)})
		r.begin(p, begun)
	}
	d := newDocument(r, engine.Join(up, down), nil)
	var path, parts []string
	for _, link := range d.CriticalPath {
		path = append(path, link.Title)
	}
	for _, st := range d.Steps {
		if st.ID == "context" {
			parts = append(parts, st.Part)
		}
	}
	if got := strings.Join(path, ", "); got != "make it, add the context, delete it, remove the context" {
		t.Errorf("the critical path is %s", got)
	}
	if got := strings.Join(parts, ", "); got != "up, down" {
		t.Errorf("the parts are %s", got)
	}
	var rows []string
	for _, row := range newPage(d).Rows {
		rows = append(rows, fmt.Sprint(row.Anchor, row.Critical, row.NeedRows))
	}
	want := []string{"step-1true []", "step-2true [{provision step-1}]", "step-3false []", "step-4false []", "step-5true [{lease step-4}]", "step-6true [{delete step-5}]"}
	if !slices.Equal(rows, want) {
		t.Errorf("the rows of the page are\n%q, want\n%q", rows, want)
	}
	if last := newPage(d).Path[3]; last.Anchor != "step-6" || newPage(d).Path[1].Anchor != "step-2" {
		t.Errorf("the critical path of the page leads to %+v", newPage(d).Path)
	}
}
