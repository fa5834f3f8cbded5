package migrate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/migrate"
)

// followed is what Flux leaves in a cluster that it does not run in: a Kustomization, of which only the status counts here.
const followed = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: kustomizations.kustomize.toolkit.fluxcd.io}
spec:
  group: kustomize.toolkit.fluxcd.io
  scope: Namespaced
  names: {kind: Kustomization, plural: kustomizations}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: v1
kind: Namespace
metadata: {name: flux-system}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: rekindle, namespace: flux-system}
`

// follows gives the cluster a branch to follow.
func (d *deserted) follows(name string) {
	d.Helper()
	d.apply(followed)
	d.job.Close()
	d.job = d.jobWith(name, "  reconciler: {flux: {}}\n  source: {url: 'https://git.invalid/ops', ref: {branch: main}, path: apps}\n")
	d.Cleanup(d.job.Close)
	if result := engine.Run(d.Context(), d.job.Look(d.Context()), engine.Options{}); result.Err != nil {
		d.Fatal(fault.Text(result.Err))
	}
}

// at has Flux be at a commit.
func (d *deserted) at(commit string) {
	d.Helper()
	ref := kube.Ref{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Kind: "Kustomization", Namespace: "flux-system", Name: "rekindle"}
	status := fmt.Sprintf(`{"status":{"lastAppliedRevision":"main@sha1:%[1]s","lastAttemptedRevision":"main@sha1:%[1]s"}}`, commit)
	if err := d.client.MergePatch(d.Context(), ref, []byte(status)); err != nil {
		d.Fatal(err)
	}
}

// TestAPushDuringACutoverStopsIt has both clusters go to a commit that the target would not be proven at: nobody is stopped for that,
// and nothing is opened.
func TestAPushDuringACutoverStopsIt(t *testing.T) {
	d := newDeserted(t)
	other := d.another("new")
	d.follows("deserted")
	other.follows("new")
	const old, expected, pushed = "1111111111", "2222222222", "3333333333"
	for _, c := range []struct {
		name                 string
		first, giver, target string
		refused              string // empty: it goes on
	}{
		{"nobody pushed", expected, expected, expected, ""},
		{"somebody pushed before, and Flux has not fetched it", old, old, old, ""},
		{"and fetches it now", old, expected, expected, ""},
		{"somebody pushes", expected, pushed, pushed, "is at the commit 3333333333, and would be proven at 2222222222"},
		{"somebody pushes again", old, pushed, pushed, "somebody has pushed since this run began"},
		{"one alone has fetched it", expected, expected, pushed, "deserted has applied 2222222222"},
	} {
		other.at(c.first)
		h := migrate.NewHandover(d.job, other.job, d, migrate.HandoverOptions{From: "deserted", To: "new"})
		defer h.Close()
		h.Expect(expected)
		if _, err := h.CheckAhead().Step("commit").Do(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		d.at(c.giver)
		other.at(c.target)
		quiet := h.Quiet()
		if !slices.Contains(quiet.Step("record").Needs(), "commit") {
			t.Error("it begins to stop before it has looked")
		}
		_, before := quiet.Step("commit").Do(t.Context(), nil)
		if (before == nil) != (c.refused == "") || before != nil && (fault.KindOf(before) != fault.Failed || !strings.Contains(before.Error(), c.refused)) {
			t.Errorf("%s: before anything stops: %v", c.name, before)
		}
	}
}
