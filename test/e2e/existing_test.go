//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/test/lab/labtest"
)

// TestShopOnAClusterOneHas installs the shop in a cluster that kind's own library made, and wants the cluster back
// as it was.
func TestShopOnAClusterOneHas(t *testing.T) {
	const document = "clusters/prod/cluster.yaml"
	labtest.RemoveCluster(t, "shop-lent", filepath.Join(t.TempDir(), "none")) // of a killed run, which rekindle would not touch
	w := newWorldOf(t, "shop-lent", nil)
	w.otherPort("8087")
	labtest.NewCluster(t, w.name, w.repo.Path("clusters/prod/kind.yaml"), w.kubeconfig)
	t.Cleanup(func() { // the document is used once more at the end, when the cluster is gone
		w.replace(document, "existing: {context: kind-shop-lent}", "kind: {config: kind.yaml}")
	})
	w.replace(document, "kind: {config: kind.yaml}", "existing: {context: kind-shop-lent}")
	w.kubectl("rollout", "status", "deployment", "--namespace=kube-system", "--timeout=2m")
	w.kubectl("rollout", "status", "deployment", "--namespace=local-path-storage", "--timeout=2m")
	w.commit("Use the cluster that is there")
	before := w.inventory()

	if doc := w.run(0, "up"); doc.Result != "proven" || len(doc.Unproven) != 0 {
		t.Fatalf("up: %s, not proven: %v", doc.Result, doc.Unproven)
	}
	if doc := w.run(0, "up"); doc.Changes != 0 {
		t.Errorf("up again made %d changes", doc.Changes)
	}
	w.run(0, "status")
	down := w.run(0, "down", "--yes")
	after := w.inventory()
	for name := range after {
		// The key that the controller of sealed-secrets made is nobody's to throw away: its namespace stays, and is named.
		if !before[name] && !strings.Contains(name, " sealed-secrets") {
			t.Errorf("%s is left", name)
		}
	}
	for name := range before {
		if !after[name] {
			t.Errorf("%s is gone", name)
		}
	}
	if !slices.ContainsFunc(down.Warnings, func(r report.DocumentRemark) bool {
		return strings.Contains(r.Text, "namespace sealed-secrets stays: it still has Secret sealed-secrets-key")
	}) {
		t.Errorf("nobody says what stays: %v", down.Warnings)
	}
	w.run(0, "down", "--yes")
}

// otherPort has the shop answer on another port of this machine, so that two tests do not meet.
func (w *world) otherPort(port string) {
	w.t.Helper()
	w.replace("clusters/prod/kind.yaml", "hostPort: 8080", "hostPort: "+port)
	for _, path := range []string{"/healthz", "/api/orders", "/api/v1/query"} {
		w.replace("clusters/prod/cluster.yaml", "127.0.0.1:8080"+path, "127.0.0.1:"+port+path)
	}
}

// inventory names every object of the cluster, but for events and what tells of other objects.
func (w *world) inventory() map[string]bool {
	w.t.Helper()
	var list string
	w.until("every kind that is listed can be read", time.Minute, func(ctx context.Context) (bool, string, error) { // one that is gone is listed for a moment more
		var kinds []string
		for kind := range strings.FieldsSeq(w.kubectl("api-resources", "--verbs=list,delete", "--output=name")) {
			name, _, _ := strings.Cut(kind, ".")
			if !slices.Contains([]string{"events", "leases", "endpoints", "endpointslices"}, name) {
				kinds = append(kinds, kind)
			}
		}
		out, err := exec.CommandContext(ctx, "docker", "exec", w.name+"-control-plane", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf",
			"get", strings.Join(kinds, ","), "--all-namespaces", "--no-headers",
			`--output=custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name,FOLLOWS:.metadata.labels.kube-aggregator\.kubernetes\.io/automanaged`).CombinedOutput()
		list = string(out)
		return err == nil, fmt.Sprintf("%v: %.300s", err, out), nil
	})
	all := map[string]bool{}
	for line := range strings.Lines(list) {
		if fields := strings.Fields(line); len(fields) == 4 && fields[3] == "<none>" { // else an APIService, which comes and goes after its CRDs
			all[strings.Join(fields[:3], " ")] = true
		}
	}
	if len(all) < 50 {
		w.t.Fatalf("the inventory has only %v", slices.Collect(maps.Keys(all)))
	}
	return all
}
