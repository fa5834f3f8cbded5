package migrate_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/migrate"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/migrate/gate"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
	"github.com/rekindle-dev/rekindle/stacks"
)

// camera takes snapshots of a simulated cluster into a real repository.
type camera struct {
	*testing.T
	provider   providers.Provider
	repository *state.Repository
	objects    string // of spec.state
	end        func() // of the snapshot before
}

func newCamera(t *testing.T) *camera {
	t.Helper()
	cache, err := assets.Open("")
	if err != nil {
		t.Fatal(err)
	}
	restic, err := cache.Get(t.Context(), state.ResticAsset(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := state.Open(state.Settings{Repository: filepath.Join(t.TempDir(), "state"), Password: []byte("horse"), Restic: restic, Cluster: "seen"})
	if err != nil {
		t.Fatal(err)
	}
	c := &camera{T: t, provider: kwoktest.Provider(t), repository: r, end: func() {}}
	cluster, err := c.provider.Ensure(t.Context(), providers.Spec{Name: "seen"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.provider.Delete(context.WithoutCancel(t.Context()), providers.Ref{Provider: "kwok", Name: "seen"}, nil); err != nil {
			t.Error(err)
		}
	})
	client, err := kube.Connect(cluster.REST)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	manifest := "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, namespace: shop}\ndata: {a: b}\n"
	for name, more := range map[string]string{"plain": "", "raw": ", volumeMode: Block"} {
		manifest += fmt.Sprintf(`---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %s, namespace: shop, annotations: {rekindle.dev/restore-priority: "3"}}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}%s}
`, name, more)
	}
	objs, err := kube.ParseManifest([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Apply(t.Context(), objs, kube.ApplyOptions{Manager: "test"}); err != nil {
		t.Fatal(err)
	}
	bound := wait.Func("the claims are bound", func(ctx context.Context) (bool, string, error) {
		claims, err := client.Typed().CoreV1().PersistentVolumeClaims("shop").List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, "", err
		}
		return !slices.ContainsFunc(claims.Items, func(c corev1.PersistentVolumeClaim) bool { return c.Status.Phase != corev1.ClaimBound }), "", nil
	})
	if err := wait.Poll(t.Context(), bound, 200*time.Millisecond, nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// take takes a snapshot, and gives the result of what was taken.
func (c *camera) take() *engine.Result {
	c.Helper()
	snapshot := c.snapshot()
	if result := engine.Run(c.Context(), snapshot.Look(c.Context()), engine.Options{}); result.Err != nil {
		c.Fatal(result.Err)
	}
	return engine.Run(c.Context(), snapshot.Take(), engine.Options{})
}

// look is the result of the look before anything is taken.
func (c *camera) look() *engine.Result {
	c.Helper()
	return engine.Run(c.Context(), c.snapshot().Look(c.Context()), engine.Options{RetryBase: time.Millisecond})
}

// snapshot is one that ends with the test, or before the next one.
func (c *camera) snapshot() *migrate.Snapshot {
	c.Helper()
	c.end()
	docs, err := config.LoadFS(fstest.MapFS{"cluster.yaml": {Data: []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: seen}\nspec:\n" +
		"  provider: {kwok: {}}\n  state:\n    repository: state\n    password: {env: X}\n    objects: [" + c.objects + "]\n")}}, "cluster.yaml")
	if err != nil {
		c.Fatal(err)
	}
	job, err := bootstrap.New(docs, "", bootstrap.Tools{Provider: c.provider, At: providers.Ref{Provider: "kwok"}, Charts: stacks.NewFetcher(c.TempDir())})
	if err != nil {
		c.Fatal(err)
	}
	snapshot := migrate.NewSnapshot(job, c.repository)
	c.end = sync.OnceFunc(func() { snapshot.Close(); job.Close() })
	c.Cleanup(c.end)
	return snapshot
}

func (c *camera) sets() []state.Summary {
	c.Helper()
	sets, err := c.repository.Sets(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	return sets
}

// TestASnapshotTellsWhatIsMissing takes what a simulated cluster has: kept objects, and claims without data.
func TestASnapshotTellsWhatIsMissing(t *testing.T) {
	c := newCamera(t)
	c.objects = "{apiVersion: v1, kind: ConfigMap, namespace: shop, selector: '!kubernetes.io/x'}"

	result := c.take() // the block device cannot be taken
	if fault.KindOf(result.Err) != fault.Failed || !strings.Contains(fault.Text(result.Err), "claim shop/raw: is a block device") ||
		!strings.Contains(fault.Text(result.Err), "rekindle.dev/snapshot=skip") {
		t.Errorf("got %v", result.Err)
	}
	if sets := c.sets(); len(sets) != 1 || sets[0].Complete {
		t.Fatalf("the sets are %+v", sets)
	}
	if _, err := c.repository.Choose(t.Context(), ""); err == nil {
		t.Error("a set that lacks a volume is chosen")
	}

	c.leaveOut("raw")
	result = c.take()
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	m, err := c.repository.Choose(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if !m.Complete || m.Cluster != "seen" || len(m.Claims) != 2 || len(m.Faults) != 0 {
		t.Errorf("the manifest tells %+v", m)
	}
	for name, why := range map[string]string{"plain": "simulated", "raw": "annotation rekindle.dev/snapshot: skip"} {
		for _, claim := range m.Claims {
			if claim.Name == name && (claim.Snapshot != "" || !strings.Contains(claim.Skipped, why) || claim.Size != "1Gi" || claim.Annotations[marks.RestorePriority] != "3") {
				t.Errorf("%s is told as %+v", name, claim)
			}
		}
	}
	kept := fmt.Sprint(m.Objects)
	if !strings.Contains(kept, "data:map[a:b]") || strings.Contains(kept, "resourceVersion") {
		t.Errorf("kept objects: %s", kept)
	}

	c.objects = "{apiVersion: example.com/v1, kind: Key}"
	result = c.take()
	if result.Err == nil || !strings.Contains(result.Err.Error(), "does not serve this kind") {
		t.Errorf("objects of an unknown kind: %v", result.Err)
	}
	if again, err := c.repository.Choose(t.Context(), ""); err != nil || again.ID != m.ID {
		t.Errorf("after a snapshot that failed %v is chosen (%v)", again, err)
	}
}

// TestNoSetIsTakenOfWhatIsNotWhole: as the newest complete one, a rebuild would choose it.
func TestNoSetIsTakenOfWhatIsNotWhole(t *testing.T) {
	c := newCamera(t)
	c.objects = "{apiVersion: v1, kind: ConfigMap, namespace: shop}"
	c.leaveOut("raw")
	client := c.client()
	refused := func(what string, says ...string) {
		t.Helper()
		err := c.look().Err
		for _, text := range says {
			if fault.KindOf(err) != fault.Refused || !strings.Contains(fault.Text(err), text) {
				t.Errorf("%s: want %q in %s", what, text, fault.Text(err))
			}
		}
	}
	const set, migration = "20261123-100000-aaaaaa", "20261123-110000-bbbbbb"
	g, waits := gate.New(client), map[gate.Claim]bool{{Namespace: "shop", Name: "plain"}: true}
	for by, says := range map[string]string{set: "rekindle rebuild --at " + set, gate.Migration(migration): "rekindle migrate rollback"} {
		if _, err := g.PutUp(t.Context(), by, waits, nil); err != nil {
			t.Fatal(err)
		}
		refused("behind the gate of "+by, "waiting for data: 1 claim, such as shop/plain", says)
		if _, err := g.TakeAway(t.Context(), by, nil); err != nil {
			t.Fatal(err)
		}
	}
	f := fence.New(client)
	if _, err := f.PutUp(t.Context(), fence.Mark{Migration: migration, Other: "new"}, fence.Rules{Claims: true}, nil); err != nil {
		t.Fatal(err)
	}
	refused("behind a fence", "is fenced by the migration "+migration, "take a snapshot of new")
	if _, err := f.Lift(t.Context(), migration, nil); err != nil {
		t.Fatal(err)
	}
	c.annotate("plain", "rekindle.dev/restoring", `"`+set+`"`)
	refused("half filled", "only a part of its data in the set "+set+" was restored", "kubectl annotate -n shop pvc plain rekindle.dev/restoring-")
	c.annotate("plain", "rekindle.dev/restoring", "null")
	if result := c.take(); result.Err != nil {
		t.Errorf("when all is there: %s", fault.Text(result.Err))
	}
}

// client reaches the cluster.
func (c *camera) client() *kube.Client {
	c.Helper()
	cluster, err := c.provider.Find(c.Context(), providers.Ref{Provider: "kwok", Name: "seen"})
	if err != nil {
		c.Fatal(err)
	}
	client, err := kube.Connect(cluster.REST)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(client.Close)
	return client
}

// leaveOut marks a claim.
func (c *camera) leaveOut(name string) {
	c.Helper()
	c.annotate(name, "rekindle.dev/snapshot", `"skip"`)
}

// annotate gives a claim an annotation, whose value is JSON.
func (c *camera) annotate(name, annotation, value string) {
	c.Helper()
	ref := kube.Ref{Version: "v1", Kind: "PersistentVolumeClaim", Namespace: "shop", Name: name}
	if err := c.client().MergePatch(c.Context(), ref, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%s}}}`, annotation, value)); err != nil {
		c.Fatal(err)
	}
}
