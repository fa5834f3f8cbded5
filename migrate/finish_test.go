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
func (d *deserted) jobOf(name string) *bootstrap.Job { return d.jobWith(name, "") }

// jobWith is jobOf with more in its document's spec.
func (d *deserted) jobWith(name, spec string) *bootstrap.Job {
	d.Helper()
	docs, err := config.LoadFS(fstest.MapFS{"cluster.yaml": {Data: []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: " + name +
		"}\nspec:\n  provider: {kwok: {}}\n  state: {repository: state, password: {env: X}}\n" + spec)}}, "cluster.yaml")
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
	if err := d.tries(manifest); err != nil {
		d.Fatal(err)
	}
}

// tries applies a manifest that may be refused.
func (d *deserted) tries(manifest string) error {
	d.Helper()
	objs, err := kube.ParseManifest([]byte(manifest))
	if err != nil {
		d.Fatal(err)
	}
	_, err = d.client.Apply(d.Context(), objs, kube.ApplyOptions{Manager: "test", Force: true})
	return err
}

// Name, Sets, Init, Put, Local and Expose make it a repository of state.
func (d *deserted) Sets(context.Context) ([]state.Summary, error) { return d.sets, nil }

func (d *deserted) Name() string { return "deserted" }

func (d *deserted) Init(context.Context) (bool, error) { return false, nil }

func (d *deserted) Put(context.Context, state.Manifest) error { return nil }

func (d *deserted) Local() bool { return false }

func (d *deserted) ForPods() (string, error) { return "", nil }

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
	had := "20200101-000000-abcdef"
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
		{"before anything came back", "rekindle.dev/restored", had, migrate.Switched, "new", true},
		{"by a machine whose clock is behind", "rekindle.dev/restored", "20190101-000000-abcdef", migrate.Fencing, "deserted", false},
	} {
		if _, err := fence.New(d.client).Lift(t.Context(), "20260101-000000-abcdef", nil); err != nil {
			t.Fatal(err)
		}
		d.marked("rekindle.dev/restored", had)
		d.fenced(c.phase, c.towards)
		d.marked(c.mark, c.set)
		up, err := d.abandoned()
		if up == c.fine || (err == nil) != c.fine {
			t.Errorf("%s: the fence is up: %v; %v", c.name, up, err)
		}
		if text := fault.Text(err); !c.fine && (fault.KindOf(err) != fault.Refused || !strings.Contains(text, "claims shop/data\n") ||
			!strings.Contains(text, "rekindle rebuild --at ") || c.set > had && !strings.Contains(text, "--at "+own+" --force")) {
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
	other := d.another("new")
	other.fenced(migrate.Carried, "new")
	h := migrate.NewHandover(d.job, other.job, d, migrate.HandoverOptions{From: "deserted", To: "new"})
	defer h.Close()
	for _, p := range []*plan.Plan{h.Agree(), h.Share()} {
		if result := engine.Run(t.Context(), p, engine.Options{}); result.Err != nil {
			t.Fatal(fault.Text(result.Err))
		}
	}
	if r := other.knows(); r.Phase != migrate.RolledBack {
		t.Errorf("the target alone knows %+v", r)
	}
}

// another is a further cluster, which was visited: the other side.
func (d *deserted) another(name string) *deserted {
	d.Helper()
	cluster, err := kwoktest.Provider(d).Ensure(d.Context(), providers.Spec{Name: name}, nil)
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() {
		if err := kwoktest.Provider(d).Delete(context.WithoutCancel(d.Context()), providers.Ref{Provider: "kwok", Name: name}, nil); err != nil {
			d.Error(err)
		}
	})
	other := *d
	if other.client, err = kube.Connect(cluster.REST); err != nil {
		d.Fatal(err)
	}
	d.Cleanup(other.client.Close)
	other.job = d.jobOf(name)
	d.Cleanup(other.job.Close)
	if result := engine.Run(d.Context(), other.job.Look(d.Context()), engine.Options{}); result.Err != nil {
		d.Fatal(fault.Text(result.Err))
	}
	return &other
}

// knows is what the cluster knows of the migration, as long as the first one is away.
func (d *deserted) knows() *migrate.Record {
	d.Helper()
	alone := migrate.NewHandover(d.jobOf("deserted"), d.job, d, migrate.HandoverOptions{From: "deserted", To: "new"})
	defer alone.Close()
	if result := engine.Run(d.Context(), alone.Agree(), engine.Options{}); result.Err != nil {
		d.Fatal(fault.Text(result.Err))
	}
	return alone.Record()
}

// TestAConfirmationThatWasRecordedInTheSourceAloneIsFinished: its run was killed between the two records. The source goes next, and
// with it what it knows: a target that stayed "switched" would take part in no other migration.
func TestAConfirmationThatWasRecordedInTheSourceAloneIsFinished(t *testing.T) {
	d := newDeserted(t)
	d.fenced(migrate.Confirmed, "new")
	other := d.another("new")
	other.fenced(migrate.Switched, "new")
	for i, want := range []plan.Outcome{plan.Changed, plan.Unchanged} {
		h := migrate.NewHandover(d.job, other.job, d, migrate.HandoverOptions{From: "deserted", To: "new"})
		defer h.Close()
		var result *engine.Result
		for _, p := range []*plan.Plan{h.Agree(), h.Confirm(false)} {
			if result = engine.Run(t.Context(), p, engine.Options{}); result.Err != nil {
				t.Fatal(fault.Text(result.Err))
			}
		}
		if got := result.Steps[0].Outcome; got != want {
			t.Errorf("run %d: %s", i, got)
		}
		if r := other.knows(); r.Phase != migrate.Confirmed {
			t.Errorf("run %d: the target alone knows %+v", i, r)
		}
	}
}

// stuck has Jobs in the cluster that never end: one of spec.verify, or another one.
func (d *deserted) stuck(labels string) {
	d.Helper()
	d.apply(`
apiVersion: batch/v1
kind: Job
metadata: {name: stuck, namespace: shop, labels: {` + labels + `}}
spec: {template: {spec: {restartPolicy: Never, nodeSelector: {no: where}, containers: [{name: x, image: example.invalid/x}]}}}
`)
}

// opened has the cluster be the target of a migration that has come so far.
func (d *deserted) opened(phase migrate.Phase) {
	d.Helper()
	d.apply(fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: rekindle-migration, namespace: kube-system, labels: {rekindle.dev/owner: rekindle}}
data: {record: '{"id":"20260101-000000-abcdef","from":"old","to":"deserted","epoch":1,"phase":%q,"towards":"deserted","since":"2026-01-01T00:00:00Z"}'}
`, phase))
}

// stopped takes the right to write away from the target, for the source, which is away; jobs is how long Jobs get to end. It gives
// what the run warned of.
func (d *deserted) stopped(jobs time.Duration) (warnings string, err error) {
	d.Helper()
	h := migrate.NewHandover(d.job, d.jobOf("old"), d, migrate.HandoverOptions{From: "old", To: "deserted", Jobs: jobs})
	defer h.Close()
	for _, p := range []*plan.Plan{h.Agree(), h.Quiet(), h.Fence()} {
		result := engine.Run(d.Context(), p, engine.Options{RetryBase: time.Millisecond})
		for _, s := range result.Steps {
			warnings += strings.Join(s.Warnings, "\n")
		}
		if result.Err != nil {
			return warnings, result.Err
		}
	}
	return warnings, nil
}

// TestAProofThatDoesNotEndIsNotInTheWay goes back from a target whose proof failed, as a Job of it never ends: such a Job is what the
// way back is for.
func TestAProofThatDoesNotEndIsNotInTheWay(t *testing.T) {
	d := newDeserted(t)
	const short = 2 * time.Second // it never ends
	d.opened(migrate.Switched)
	d.stuck("rekindle.dev/owner: rekindle, rekindle.dev/verifies: a")
	if warnings, err := d.stopped(time.Minute); err != nil || warnings != "" {
		t.Fatalf("a Job of spec.verify: %q, %s", warnings, fault.Text(err))
	}
	if _, err := fence.New(d.client).Lift(t.Context(), "20260101-000000-abcdef", nil); err != nil {
		t.Fatal(err)
	}

	d.stuck("")
	d.opened(migrate.Switched)
	if _, err := d.stopped(short); fault.KindOf(err) != fault.Failed || !strings.Contains(err.Error(), "Jobs") {
		t.Errorf("a Job of a target that was proven: %v", err)
	}
	d.opened(migrate.Opening)
	warnings, err := d.stopped(short)
	if err != nil || !strings.Contains(warnings, "deserted was never proven") {
		t.Errorf("a Job of a target that was never proven: %q, %s", warnings, fault.Text(err))
	}
	pods, err := d.client.Typed().CoreV1().Pods("shop").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) > 0 {
		t.Errorf("%d pods of it write while the last pass runs, %v", len(pods.Items), err)
	}
}
