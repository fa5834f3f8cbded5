package faults

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/internal/state"
)

const statePassword = "correct horse battery staple"

// outside is a workload of the repository that acts on the world outside.
const outside = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: external-dns, namespace: shop}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: external-dns}}
  template:
    metadata: {labels: {app.kubernetes.io/name: external-dns}}
    spec: {containers: [{name: main, image: example.invalid/external-dns}]}
`

// withState gives the sample a repository of state, with a set that was taken the age ago and holds a kept key.
func (w *world) withState(age time.Duration) {
	w.t.Helper()
	spec := "  state:\n    repository: " + filepath.Join(w.home, "state") + "\n    password: {env: STATE_PASSWORD}\n" +
		"    objects: [{apiVersion: v1, kind: Secret, namespace: sealed-secrets, selector: sealedsecrets.bitnami.com/sealed-secrets-key}]\n  verify:\n"
	if err := w.repo.Replace(dev, "  verify:\n", spec); err != nil {
		w.t.Fatal(err)
	}
	if err := w.repo.Replace("overlays/dev/kustomization.yaml", "resources:\n", "resources:\n  - outside.yaml\n"); err != nil {
		w.t.Fatal(err)
	}
	w.commit(map[string]string{"overlays/dev/outside.yaml": outside})
	cache, err := assets.Open("")
	if err != nil {
		w.t.Fatal(err)
	}
	program, err := cache.Get(w.t.Context(), state.ResticAsset(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	repository, err := state.Open(state.Settings{
		Repository: filepath.Join(w.home, "state"), Password: []byte(statePassword), Restic: program, Cluster: "shop-dev",
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := repository.Init(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	begun := time.Now().Add(-age)
	err = repository.Put(w.t.Context(), state.Manifest{
		ID: state.NewID(begun), Cluster: "shop-dev", Time: begun, Complete: true, Claims: []state.Claim{},
		Objects: []map[string]any{{
			"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
			"metadata": map[string]any{
				"name": "sealed-secrets-key", "namespace": "sealed-secrets",
				"labels": map[string]any{"sealedsecrets.bitnami.com/sealed-secrets-key": "active"},
			},
			"data": map[string]any{"tls.crt": "aGVsbG8=", "tls.key": "aGVsbG8="},
		}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.env = append(w.env, "STATE_PASSWORD="+statePassword)
}

// TestADrill proves itself, tells what it cannot prove, and leaves nothing.
func TestADrill(t *testing.T) {
	w := newWorld(t)
	w.withState(time.Hour)
	first := w.must("drill", dev, "--provider", "kwok")
	w.nothingLeft()
	d := first.Drill
	if d == nil || d.RTOSeconds <= 0 || d.RPOSeconds < 3600 || d.RPOSeconds > 3700 || len(d.Findings) != 0 || len(d.Slowest) == 0 {
		t.Fatalf("the drill is %+v", d)
	}
	if held := strings.Join(d.Held, ", "); held != "Deployment shop/external-dns" {
		t.Errorf("held: %s", held)
	}
	if !contains(first.Unproven, "the content of volumes") {
		t.Errorf("not proven: %v", first.Unproven)
	}

	last := filepath.Join(w.home, "last.json")
	raw, err := json.Marshal(first)
	if err == nil {
		err = os.WriteFile(last, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	code, out, doc := w.run("drill", dev, "--provider", "kwok", "--baseline", last, "--max-rto", "1s", "--max-rpo", "10m")
	if code != 1 || !strings.Contains(out, "RTO: measured") || !strings.Contains(out, "RPO: measured 1h") || !strings.Contains(out, "--max-rpo") {
		t.Errorf("worse than it may be: exit %d\n%s", code, out)
	}
	if doc.Drill.Baseline == nil || doc.Drill.Baseline.RTOSeconds != d.RTOSeconds {
		t.Errorf("the earlier drill is %+v", doc.Drill.Baseline)
	}
	w.nothingLeft()
}

func contains(remarks []report.DocumentRemark, text string) bool {
	for _, r := range remarks {
		if strings.Contains(r.Text, text) {
			return true
		}
	}
	return false
}

// TestADrillThatIsInterruptedLeavesNothing at each part of it, nor does one that fails.
func TestADrillThatIsInterruptedLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.withState(time.Hour)
	for _, at := range []moment{{"state", "running"}, {"isolate", "running"}, {"verdict/rendered", "running"}} {
		code, out, hit := w.strike(at, syscall.SIGINT, "drill", dev, "--provider", "kwok")
		late := at.step == "verdict/rendered" && code == 0 && lastLine(t, out).Result == "proven" // the signal came after the last step
		if !hit || code != 130 && !late {
			t.Errorf("interrupted at %s: exit %d\n%s", at, code, out)
		}
		w.nothingLeft()
	}
	if code, out, doc := w.run("drill", dev, "--provider", "kwok", "--at", "2020-01-01"); code != 2 || doc.Drill.RTOSeconds != 0 {
		t.Errorf("of a set that there is not: exit %d\n%s", code, out)
	}
	w.nothingLeft()
}

// TestTheWeeklyDrill runs the commands of the documented workflow twice: the second compares with the first.
func TestTheWeeklyDrill(t *testing.T) {
	w := newWorld(t)
	w.withState(time.Hour)
	names, steps := drillSteps(t)
	for range 2 {
		for _, name := range names {
			step := steps[name]
			step.env["DOCUMENT"], step.env["PROVIDER"] = dev, "kwok"
			cmd := step.cmd(t.Context())
			cmd.Dir = w.repo.Dir
			cmd.Env = append(w.cmd(t.Context()).Env, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
			for key, value := range step.env {
				if !regexp.MustCompile(`\$\{\{`).MatchString(value) { // else a secret, which is set
					cmd.Env = append(cmd.Env, key+"="+value)
				}
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, out)
			}
		}
	}
	raw, err := os.ReadFile(filepath.Join(w.repo.Dir, "drill.json"))
	if err != nil {
		t.Fatal(err)
	}
	if doc := lastLine(t, string(raw)); doc.Result != "proven" || doc.Drill.Baseline == nil {
		t.Errorf("the second drill: %s, beside %v", doc.Result, doc.Drill.Baseline)
	}
	if page, err := os.ReadFile(filepath.Join(w.repo.Dir, "drill.html")); err != nil || !strings.Contains(string(page), "the last time") {
		t.Errorf("the page does not compare: %v", err)
	}
	w.nothingLeft()
}
