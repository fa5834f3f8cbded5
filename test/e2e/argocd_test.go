//go:build e2e && argocd

package e2e

import (
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/test/lab/labtest"
)

const (
	shopByFlux = "flux: {chart: oci://127.0.0.1:5001/charts/flux2, version: 2.17.0}"
	// Argo CD looks at the interval of the source, give or take a jitter of a minute.
	shopByArgoCD = `argocd: {chart: oci://127.0.0.1:5001/charts/argo-cd, version: 9.5.0, values: {configs: {cm: {timeout.reconciliation.jitter: 0s}}}}`

	// openly is the shop's password as no repository should have it: Argo CD does not decrypt.
	openly = "apiVersion: v1\nkind: Secret\nmetadata: {name: database}\nstringData: {password: only-for-tests}\n"
)

// TestShopByArgoCD is the main job with Argo CD in the place of Flux, and a rebuild with the shop's data.
func TestShopByArgoCD(t *testing.T) {
	labtest.Require(t, "argocd")
	w := newWorldOf(t, "shop-argocd", func(w *world) {
		w.vars = []string{statePassword}
		w.replace("base/namespace.yaml", "enforce: restricted", "enforce: baseline") // movers are root
		w.otherPort("8090")
		w.replace("clusters/prod/cluster.yaml", shopByFlux, shopByArgoCD)
		w.replace("clusters/prod/cluster.yaml", "stacks/platform.yaml", "stacks/small.yaml")
		w.replace("clusters/prod/cluster.yaml", "  verify:\n",
			"  state: {repository: "+w.stateDir()+", password: {env: RESTIC_PASSWORD}}\n  verify:\n")
		w.replace("clusters/prod/cluster.yaml", `    - {http: "http://127.0.0.1:8090/api/v1/query?query=up", host: prometheus.shop.example.com, contains: node-exporter, timeout: 3m}`+"\n", "")
		if _, err := w.repo.Commit("Take what the shop needs alone", map[string]string{"stacks/small.yaml": small}); err != nil {
			t.Fatal(err)
		}
	})
	if text := faults(w.run(2, "up")); !strings.Contains(text, "overlays/prod/credentials.enc.yaml") || !strings.Contains(text, "SealedSecrets") {
		t.Fatalf("encrypted files are not refused:\n%s", text)
	}
	w.replace("overlays/prod/kustomization.yaml", "credentials.enc.yaml", "credentials.yaml")
	if _, err := w.repo.Commit("Have a password that all can read", map[string]string{"overlays/prod/credentials.yaml": openly}); err != nil {
		t.Fatal(err)
	}

	if doc := w.run(0, "up"); doc.Result != "proven" || len(doc.Unproven) != 0 {
		t.Fatalf("up: %s, not proven: %v", doc.Result, doc.Unproven)
	}
	t.Run("up again changes nothing", func(t *testing.T) {
		if doc := w.run(0, "up"); doc.Changes != 0 {
			t.Errorf("up again made %d changes", doc.Changes)
		}
	})
	t.Run("a hand edit is told and reverted", w.handEdit)
	t.Run("a bad commit is told with its cause, and a revert heals it", w.badCommit)
	t.Run("a lost cluster comes back with its data", w.rebuiltByArgoCD)
	w.run(0, "down", "--yes")
}

// rebuiltByArgoCD loses the cluster after a snapshot, and wants the orders back that were acknowledged before.
func (w *world) rebuiltByArgoCD(t *testing.T) {
	w.psql("CREATE TABLE remembered AS SELECT generate_series(1, 100) AS n")
	w.run(0, "snapshot")
	docker(t, "rm", "--force", "--volumes", w.name+"-control-plane") // no tear-down: it is lost
	if doc := w.run(0, "rebuild"); doc.Result != "proven" || len(doc.Unproven) != 0 {
		t.Fatalf("rebuild: %s, not proven: %v", doc.Result, doc.Unproven)
	}
	if got := strings.TrimSpace(w.psql("SELECT count(*) FROM remembered")); got != "100" {
		t.Errorf("%s of 100 rows are there", got)
	}
	w.run(0, "status")
}
