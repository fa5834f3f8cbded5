//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/report"
)

// outside acts on the world outside: it would, with an image that there is.
const outside = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: external-dns, namespace: shop}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: external-dns}}
  template:
    metadata: {labels: {app.kubernetes.io/name: external-dns}}
    spec: {containers: [{name: main, image: example.invalid/external-dns}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: mail-customers, namespace: shop}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: example.invalid/mail}]}}}
`

// small is the stack that the shop itself needs.
const small = `
apiVersion: rekindle.dev/v1alpha1
kind: Stack
metadata: {name: small}
releases:
  - {name: sealed-secrets, namespace: sealed-secrets, chart: "${CHARTS}/sealed-secrets", version: 1.0.0}
  - name: skipper
    namespace: ingress
    chart: ${CHARTS}/skipper
    version: 1.0.0
    values: {service: {type: NodePort, nodePort: 30080}}
`

// TestDrill loses nothing but tries it: the shop comes up from its snapshot in a cluster of its own that acts on nothing
// outside, answers, is judged, and goes.
func TestDrill(t *testing.T) {
	w := newWorldOf(t, "drill-shop", func(w *world) {
		w.vars = []string{statePassword}
		w.replace("base/namespace.yaml", "enforce: restricted", "enforce: baseline") // movers are root
		w.otherPort("8088")
		w.replace("clusters/prod/cluster.yaml", "  verify:\n",
			"  state: {repository: "+w.stateDir()+", password: {env: RESTIC_PASSWORD}}\n  verify:\n")
		w.replace("clusters/prod/cluster.yaml", "stacks/platform.yaml", "stacks/small.yaml")
		w.replace("clusters/prod/cluster.yaml", `    - {http: "http://127.0.0.1:8088/api/v1/query?query=up", host: prometheus.shop.example.com, contains: node-exporter, timeout: 3m}`+"\n", "")
		if _, err := w.repo.Commit("Take what the shop needs alone", map[string]string{"stacks/small.yaml": small}); err != nil {
			t.Fatal(err)
		}
	})
	w.run(0, "up")
	w.run(0, "snapshot")
	docker(t, "rm", "--force", "--volumes", w.name+"-control-plane") // its ports are those that the drill's cluster gets
	w.replace("overlays/prod/kustomization.yaml", "resources:\n", "resources:\n  - outside.yaml\n")
	if _, err := w.repo.Commit("Act on the world outside", map[string]string{"overlays/prod/outside.yaml": outside}); err != nil {
		t.Fatal(err)
	}
	doc := w.run(0, "drill", "--sentinel", "shop/data-database-0/15/global/pg_control")
	w.drilled(doc)
	if left := docker(t, "ps", "--all", "--quiet", "--filter", "label=io.x-k8s.kind.cluster", "--filter", "name=drill-shop"); left != "" {
		t.Errorf("the drill left %s", left)
	}
}

// drilled judges what a drill of the whole shop told.
func (w *world) drilled(doc report.Document) {
	w.t.Helper()
	d := doc.Drill
	if d == nil || d.RTOSeconds <= 0 || d.RTOSeconds > doc.Seconds+1 || len(d.Findings) != 0 {
		w.t.Fatalf("the drill is %+v", d)
	}
	if len(doc.Unproven) != 0 {
		w.t.Errorf("not proven: %v", doc.Unproven)
	}
	held := []string{"CronJob shop/mail-customers", "Deployment shop/external-dns"}
	if !slices.Equal(d.Held, held) {
		w.t.Errorf("held %v, want %v", d.Held, held)
	}
	if !strings.HasPrefix(d.RPOBy, "the sentinel shop/data-database-0/") || d.RPOSeconds <= 0 || d.RPOSeconds > 600 {
		w.t.Errorf("the data is %.0f s old by %s", d.RPOSeconds, d.RPOBy)
	}
	i := slices.IndexFunc(d.Data, func(data report.DrillData) bool { return data.Claim == "shop/data-database-0" })
	if i < 0 || d.Data[i].Files < 500 || d.Data[i].Newest == "" || d.Data[i].AgeSeconds > d.RPOSeconds {
		w.t.Errorf("the data is %+v", d.Data)
	}
	w.t.Logf("RTO %.1f s, RPO %.1f s, %v", d.RTOSeconds, d.RPOSeconds, d.Slowest)
}
