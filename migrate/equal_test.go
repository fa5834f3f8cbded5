package migrate_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
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

// stagedShop is a side of a migration whose target was staged: how far it is, a workload with a claim, and a kept object.
const stagedShop = `
apiVersion: v1
kind: ConfigMap
metadata: {name: rekindle-migration, namespace: kube-system, labels: {rekindle.dev/owner: rekindle}}
data: {record: '{"id":"20260101-000000-abcdef","from":"deserted","to":"new","epoch":1,"phase":"staged","towards":"deserted","since":"2026-01-01T00:00:00Z"}'}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  replicas: 1
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: example.invalid/db}]}
  volumeClaimTemplates: [{metadata: {name: d}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]
---
apiVersion: v1
kind: Secret
metadata: {name: made, namespace: shop, labels: {kept: "yes"}}
stringData: {key: first}
`

// TestWhatCameIntoTheTargetIsComparedAhead: what would stop a cutover when nobody can write is told before, and nothing is changed.
func TestWhatCameIntoTheTargetIsComparedAhead(t *testing.T) {
	d := newDeserted(t)
	other := d.another("new")
	other.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
	d.apply(stagedShop + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: late, namespace: shop, labels: {kept: \"yes\"}}\n")
	other.apply(stagedShop)
	d.job.Documents().Cluster.Spec.State.Objects = []config.StateObject{{APIVersion: "v1", Kind: "Secret", Namespace: "shop", Selector: "kept"}}
	h := migrate.NewHandover(d.job, other.job, d, migrate.HandoverOptions{From: "deserted", To: "new", Keep: volumes.Keep})
	defer h.Close()
	if h.Check().Step("target/equal") != nil {
		t.Error("what was never staged is compared")
	}
	if result := engine.Run(t.Context(), h.Agree(), engine.Options{}); result.Err != nil {
		t.Fatal(fault.Text(result.Err))
	}
	check := func() (warned, faults string) {
		_, err := h.Check().Step("target/equal").Do(t.Context(), func(u plan.Update) { warned += u.Warning })
		if err != nil {
			faults = fault.Text(err)
		}
		return warned, faults
	}
	d.brings(other)
	if warned, faults := check(); warned+faults != "" {
		t.Errorf("nothing differs: %s%s", warned, faults)
	}
	d.apply(strings.Replace(stagedShop, "key: first", "key: second", 1))
	other.apply(strings.Replace(stagedShop, "replicas: 1", "replicas: 0", 1) + `---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: left, namespace: shop, annotations: {rekindle.dev/restored: 20200101-000000-abcdef}}
spec: {storageClassName: none, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`)
	warned, faults := check()
	for _, want := range []string{"Secret shop/made of new: is kept state, but differs from deserted", "StatefulSet shop/db of new: is scaled to 0"} {
		if !strings.Contains(faults, want) {
			t.Errorf("no %q in %s", want, faults)
		}
	}
	if !strings.Contains(warned, "claim shop/left of new has its data of the set 20200101-000000-abcdef, and deserted has no such claim any more") {
		t.Errorf("warned of %q", warned)
	}
}

// brings has a run of ours have brought a Secret into the target, which the source then changes. The cutover brings that, unless
// somebody has changed it in the target.
func (d *deserted) brings(other *deserted) {
	d.Helper()
	secret := func(value string) map[string]any {
		return map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": map[string]any{"key": base64.StdEncoding.EncodeToString([]byte(value))},
			"metadata": map[string]any{"name": "brought", "namespace": "shop", "labels": map[string]any{"kept": "yes"}},
		}
	}
	objs, err := kube.FromJSON([]map[string]any{secret("second")})
	if err == nil {
		_, err = d.client.Apply(d.Context(), objs, kube.ApplyOptions{Manager: "test", Force: true})
	}
	if err == nil {
		_, err = volumes.PutBack(d.Context(), other.client, []map[string]any{secret("first")})
	}
	if err != nil {
		d.Fatal(err)
	}
	ref := kube.NewRef(corev1.SchemeGroupVersion.WithKind("Secret"), "shop", "brought")
	if err := other.client.MergePatch(d.Context(), ref, []byte(`{"metadata":{"labels":{"seen":"yes"}}}`)); err != nil {
		d.Fatal(err)
	}
}

// TestAKeptObjectFollowsTheSourceUntilTheCutover: what came into the target days ago may have changed since, as a certificate that was
// renewed. What somebody else has changed in the target stays, and stops the cutover.
func TestAKeptObjectFollowsTheSourceUntilTheCutover(t *testing.T) {
	d := newDeserted(t)
	other := d.another("new")
	other.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
	d.brings(other)
	d.job.Documents().Cluster.Spec.State.Objects = []config.StateObject{{APIVersion: "v1", Kind: "Secret", Namespace: "shop", Selector: "kept"}}
	h := migrate.NewHandover(d.job, other.job, d, migrate.HandoverOptions{From: "deserted", To: "new", Keep: volumes.Keep, PutBack: volumes.PutBack})
	defer h.Close()
	h.Look()
	compare := func() error {
		_, err := h.CarryLast().Step("equal/kept").Do(t.Context(), nil)
		return err
	}
	if err := compare(); err != nil {
		t.Error(fault.Text(err))
	}
	secrets := other.client.Typed().CoreV1().Secrets("shop")
	is, err := secrets.Get(t.Context(), "brought", metav1.GetOptions{})
	if err != nil || string(is.Data["key"]) != "second" || is.Labels["seen"] != "yes" {
		t.Fatalf("the target has %v, %v", is, err)
	}
	is.Data["key"] = []byte("third")
	if _, err := secrets.Update(t.Context(), is, metav1.UpdateOptions{FieldManager: "somebody"}); err != nil {
		t.Fatal(err)
	}
	if err := compare(); err == nil || !strings.Contains(err.Error(), "is kept state, but differs from deserted") {
		t.Errorf("what somebody has changed there: %v", err)
	}
}
