package migrate_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/migrate"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
	"github.com/rekindle-dev/rekindle/stacks"
)

// deserted is a source that was fenced when its target was lost, and a repository of its sets.
type deserted struct {
	*testing.T
	job    *bootstrap.Job
	client *kube.Client
	sets   []state.Summary
}

func newDeserted(t *testing.T) *deserted {
	t.Helper()
	d, provider := &deserted{T: t}, kwoktest.Provider(t)
	cluster, err := provider.Ensure(t.Context(), providers.Spec{Name: "deserted"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := provider.Delete(context.WithoutCancel(t.Context()), providers.Ref{Provider: "kwok", Name: "deserted"}, nil); err != nil {
			t.Error(err)
		}
	})
	if d.client, err = kube.Connect(cluster.REST); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.client.Close)
	d.apply(`
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: shop}
spec: {storageClassName: none, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: files, namespace: shop, annotations: {rekindle.dev/restored: 20200101-000000-abcdef}}
spec: {storageClassName: none, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`)
	d.job = d.jobOf("deserted")
	t.Cleanup(d.job.Close)
	if result := engine.Run(t.Context(), d.job.Look(t.Context()), engine.Options{}); result.Err != nil {
		t.Fatal(fault.Text(result.Err))
	}
	return d
}

// jobOf is that of one side, which nobody has visited.
func (d *deserted) jobOf(name string) *bootstrap.Job {
	d.Helper()
	docs, err := config.LoadFS(fstest.MapFS{"cluster.yaml": {Data: []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: " + name +
		"}\nspec:\n  provider: {kwok: {}}\n  state: {repository: state, password: {env: X}}\n")}}, "cluster.yaml")
	if err != nil {
		d.Fatal(err)
	}
	job, err := bootstrap.New(docs, "", bootstrap.Tools{Provider: kwoktest.Provider(d), At: providers.Ref{Provider: "kwok"}, Charts: stacks.NewFetcher(d.TempDir())})
	if err != nil {
		d.Fatal(err)
	}
	return job
}

// handover is one from the deserted cluster to the lost one, as both know it.
func (d *deserted) handover() *migrate.Handover {
	d.Helper()
	h := migrate.NewHandover(d.job, d.jobOf("new"), d, migrate.HandoverOptions{From: "deserted", To: "new"})
	d.Cleanup(h.Close)
	if result := engine.Run(d.Context(), h.Agree(), engine.Options{}); result.Err != nil {
		d.Fatal(fault.Text(result.Err))
	}
	return h
}

func (d *deserted) apply(manifest string) {
	d.Helper()
	objs, err := kube.ParseManifest([]byte(manifest))
	if err != nil {
		d.Fatal(err)
	}
	if _, err := d.client.Apply(d.Context(), objs, kube.ApplyOptions{Manager: "test", Force: true}); err != nil {
		d.Fatal(err)
	}
}

// Sets, Init, Put, Local and Expose make it a repository of state.
func (d *deserted) Sets(context.Context) ([]state.Summary, error) { return d.sets, nil }

func (d *deserted) Init(context.Context) (bool, error) { return false, nil }

func (d *deserted) Put(context.Context, state.Manifest) error { return nil }

func (d *deserted) Local() bool { return false }

func (d *deserted) Expose(context.Context, string) (state.Access, func(), error) {
	return state.Access{}, func() {}, nil
}

// fenced has a migration be so far, and its fence be up.
func (d *deserted) fenced(phase migrate.Phase, towards string) {
	d.Helper()
	d.apply(fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: rekindle-migration, namespace: kube-system, labels: {rekindle.dev/owner: rekindle}}
data: {record: '{"id":"20260101-000000-abcdef","from":"deserted","to":"new","epoch":2,"phase":%q,"towards":%q,"since":"2026-01-01T00:00:00Z"}'}
`, phase, towards))
	mark := fence.Mark{Migration: "20260101-000000-abcdef", Epoch: 1, Other: "new"}
	if _, err := fence.New(d.client).PutUp(d.Context(), mark, fence.Rules{Jobs: true, Claims: true}, nil); err != nil {
		d.Fatal(err)
	}
}

// marked puts a mark on the claim data, and takes the others off.
func (d *deserted) marked(mark, set string) {
	d.Helper()
	annotations := fmt.Sprintf(`{"metadata":{"annotations":{"rekindle.dev/restoring":null,"rekindle.dev/restored":null,%q:%q}}}`, mark, set)
	ref := kube.NewRef(corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"), "shop", "data")
	if err := d.client.MergePatch(d.Context(), ref, []byte(annotations)); err != nil {
		d.Fatal(err)
	}
}

// abandoned gives the migration up, and says whether the fence is still there.
func (d *deserted) abandoned() (up bool, err error) {
	d.Helper()
	result := engine.Run(d.Context(), d.handover().Abandon(), engine.Options{RetryBase: time.Millisecond})
	found, err := fence.Find(d.Context(), d.client)
	if err != nil {
		d.Fatal(err)
	}
	return found != nil, result.Err
}

// TestASourceThatWasOverwrittenInPartStaysFenced: the target was lost while its data came back. Only what is of one moment
// may be written to again.
func TestASourceThatWasOverwrittenInPartStaysFenced(t *testing.T) {
	d := newDeserted(t)
	own, came := state.NewID(time.Now().Add(time.Hour)), state.NewID(time.Now().Add(2*time.Hour))
	torn := state.NewID(time.Now().Add(3 * time.Hour)) // somebody took it of what had come until then
	d.sets = []state.Summary{
		{ID: "99990101-000000-broken", Cluster: "deserted"}, {ID: torn, Cluster: "deserted", Complete: true}, {ID: own, Cluster: "deserted", Complete: true},
	}
	for _, c := range []struct {
		name, mark, set string
		phase           migrate.Phase
		towards         string
		fine            bool
	}{
		{"in the midst of a claim", "rekindle.dev/restoring", came, migrate.Switched, "new", false},
		{"in the midst of a rebuild", "rekindle.dev/restoring", own, migrate.Fencing, "deserted", false},
		{"in the midst of a claim, once more", "rekindle.dev/restoring", came, migrate.Carried, "deserted", false},
		{"between two claims, or two passes", "rekindle.dev/restored", came, migrate.Fencing, "deserted", false},
		{"when all of it was there", "rekindle.dev/restored", came, migrate.Carried, "deserted", true},
		{"and it was rebuilt", "rekindle.dev/restored", own, migrate.Fencing, "deserted", true},
		{"before anything came back", "rekindle.dev/restored", "20200101-000000-abcdef", migrate.Switched, "new", true},
	} {
		d.fenced(c.phase, c.towards)
		d.marked(c.mark, c.set)
		up, err := d.abandoned()
		if up == c.fine || (err == nil) != c.fine {
			t.Errorf("%s: the fence is up: %v; %v", c.name, up, err)
		}
		if text := fault.Text(err); !c.fine && (fault.KindOf(err) != fault.Refused || !strings.Contains(text, "claims shop/data\n") ||
			!strings.Contains(text, "rekindle rebuild --at "+own+" --force")) {
			t.Errorf("%s: %s", c.name, text)
		}
	}
}

// TestASourceGoesOnWhenItsMoversAreGone leaves a mover that was told to write when its run was killed: it goes on until its
// pod is gone.
func TestASourceGoesOnWhenItsMoversAreGone(t *testing.T) {
	d := newDeserted(t)
	d.fenced(migrate.Switched, "new")
	d.apply(`
apiVersion: v1
kind: Pod
metadata: {name: mover, namespace: shop, finalizers: [example.com/node], labels: {rekindle.dev/mover: "true", app.kubernetes.io/name: rekindle-restore}}
spec: {containers: [{name: restic, image: example.invalid/x}]}
`)
	d.apply(`
apiVersion: v1
kind: Pod
metadata: {name: reader, namespace: shop, finalizers: [example.com/node], labels: {rekindle.dev/mover: "true", app.kubernetes.io/name: rekindle-backup}}
spec: {containers: [{name: restic, image: example.invalid/x}]}
`) // which only reads, and is of a node that is away
	pods := d.client.Typed().CoreV1().Pods("shop")
	for _, name := range []string{"mover", "reader"} {
		if err := pods.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	waited := false
	_, err := d.handover().Abandon().Step("back").Do(t.Context(), func(u plan.Update) {
		if waited || !strings.Contains(u.Waiting, "all movers that write to be gone") {
			return
		}
		waited = true
		if found, err := fence.Find(t.Context(), d.client); err != nil || found == nil {
			t.Errorf("while a mover may write the fence is %v, %v", found, err)
		}
		ref := kube.NewRef(corev1.SchemeGroupVersion.WithKind("Pod"), "shop", "mover")
		if err := d.client.MergePatch(t.Context(), ref, []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
			t.Error(err)
		}
	})
	if err != nil || !waited {
		t.Errorf("it waited: %v; %v", waited, err)
	}
	if found, err := fence.Find(t.Context(), d.client); err != nil || found != nil {
		t.Errorf("the fence is still there: %v, %v", found, err)
	}
	if r := d.handover().Record(); r.Phase != migrate.RolledBack || r.Epoch != 3 {
		t.Errorf("it is recorded as %+v: a target that comes back later may know as much", r)
	}
}

// TestWhatOneClusterKnowsIsSharedWithTheOther: the target was away when the migration was given up, and knows that all was
// carried. When the source is away later, that would let the target write.
func TestWhatOneClusterKnowsIsSharedWithTheOther(t *testing.T) {
	d := newDeserted(t)
	d.fenced(migrate.RolledBack, "deserted")
	cluster, err := kwoktest.Provider(t).Ensure(t.Context(), providers.Spec{Name: "new"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kwoktest.Provider(t).Delete(context.WithoutCancel(t.Context()), providers.Ref{Provider: "kwok", Name: "new"}, nil); err != nil {
			t.Error(err)
		}
	})
	other := *d
	if other.client, err = kube.Connect(cluster.REST); err != nil {
		t.Fatal(err)
	}
	defer other.client.Close()
	other.fenced(migrate.Carried, "new")
	job := d.jobOf("new")
	defer job.Close()
	h := migrate.NewHandover(d.job, job, d, migrate.HandoverOptions{From: "deserted", To: "new"})
	defer h.Close()
	for _, p := range []*plan.Plan{job.Look(t.Context()), h.Agree(), h.Share()} {
		if result := engine.Run(t.Context(), p, engine.Options{}); result.Err != nil {
			t.Fatal(fault.Text(result.Err))
		}
	}
	alone := migrate.NewHandover(d.jobOf("deserted"), job, d, migrate.HandoverOptions{From: "deserted", To: "new"})
	defer alone.Close()
	if result := engine.Run(t.Context(), alone.Agree(), engine.Options{}); result.Err != nil || alone.Record().Phase != migrate.RolledBack {
		t.Errorf("the target alone knows %+v, %v", alone.Record(), result.Err)
	}
}
