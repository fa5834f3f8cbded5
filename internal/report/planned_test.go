package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// previewOf is a preview of upPlan in which each step has an effect.
func previewOf(found plan.Found, effects map[plan.ID]plan.Forecast) *plan.Preview {
	v := &plan.Preview{Of: "cluster kwok/shop", Found: found, Steps: map[plan.ID]plan.Forecast{}}
	for _, s := range upPlan(false).Steps() {
		v.Steps[s.ID] = plan.Forecast{Effect: plan.None}
	}
	maps.Copy(v.Steps, effects)
	return v
}

func changingPreview() *plan.Preview {
	v := previewOf(plan.Exists, map[plan.ID]plan.Forecast{
		"release/cert-manager":   {Effect: plan.Change, Changes: []string{"upgrade from chart version 1.20.0 to 1.21.2", "other values: replicas"}},
		"release/issuers":        {Effect: plan.Create, Changes: []string{"install chart version 0.1.0"}},
		"release/metrics-server": {Effect: plan.Remove, Changes: []string{"uninstall release old/old"}},
		"sync":                   {Effect: plan.Unknown},
	})
	v.Warnings = []plan.Remark{{Step: "sync", Text: "it does not answer"}}
	return v
}

// answered is what Plan prints.
func answered(t *testing.T, o Options, v *plan.Preview) string {
	t.Helper()
	var out, errOut bytes.Buffer
	if err := New(&out, &errOut, o).Plan(upPlan(false), v); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPlanAnswer(t *testing.T) {
	for format, file := range map[Format]string{Plain: "plan.txt", JSON: "plan.json"} {
		golden(t, file, answered(t, Options{Format: format}, nil))
	}
}

func TestPreviewAnswer(t *testing.T) {
	for format, file := range map[Format]string{Plain: "preview.txt", JSON: "preview.json"} {
		golden(t, file, answered(t, Options{Format: format}, changingPreview()))
	}
}

// The hash is that of the plan, whatever was found of the cluster.
func TestThePreviewIsNoPartOfTheHash(t *testing.T) {
	hash := func(v *plan.Preview) string {
		var line struct{ Plan string }
		if err := json.Unmarshal([]byte(answered(t, Options{Format: JSON}, v)), &line); err != nil {
			t.Fatal(err)
		}
		return line.Plan
	}
	if a, b := hash(nil), hash(changingPreview()); a != b || a == "" {
		t.Errorf("%q and %q", a, b)
	}
}

func TestTheSummaryOfAPreview(t *testing.T) {
	create := map[plan.ID]plan.Forecast{"crds": {Effect: plan.Create}, "sync": {Effect: plan.Create}}
	unknown := map[plan.ID]plan.Forecast{"crds": {Effect: plan.Unknown}, "provision": {Effect: plan.Change}}
	for want, v := range map[string]*plan.Preview{
		"cluster kwok/shop exists: nothing to change, 8 unchanged":                                                                                   previewOf(plan.Exists, nil),
		"cluster kwok/shop exists: 1 to create, 1 to change, 1 to remove, 4 unchanged, 1 not known":                                                  changingPreview(),
		"cluster kwok/shop does not exist; up would create it: 2 to create, 6 only to wait and prove":                                                previewOf(plan.Absent, create),
		"cluster kwok/shop has nothing of ours yet; up would install everything: 2 to create, 6 only to wait and prove":                              previewOf(plan.Empty, create),
		"cluster kwok/shop is half-made, or does not run; up would finish it, or start it again: 1 to change, 6 only to wait and prove, 1 not known": previewOf(plan.Incomplete, unknown),
	} {
		text := answered(t, Options{Format: Plain}, v)
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if got := lines[len(lines)-1]; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

func TestManyChangesAreCutShort(t *testing.T) {
	var many []string
	for i := range mostChanges + 5 {
		many = append(many, fmt.Sprintf("create ConfigMap shop/c%d", i))
	}
	v := previewOf(plan.Exists, map[plan.ID]plan.Forecast{"sync": {Effect: plan.Change, Changes: many}})
	for verbose, want := range map[bool]int{false: mostChanges, true: len(many)} {
		text := answered(t, Options{Format: Plain, Verbose: verbose}, v)
		if got := strings.Count(text, "create ConfigMap"); got != want || strings.Contains(text, "and 5 more, which -v shows") == verbose {
			t.Errorf("verbose %v: %d of %d\n%s", verbose, got, len(many), text)
		}
	}
	if text := answered(t, Options{Format: JSON}, v); strings.Count(text, "create ConfigMap") != len(many) {
		t.Errorf("JSON cuts it short: %s", text)
	}
}
