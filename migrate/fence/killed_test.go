package fence_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate/admission"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

// lifts takes the fence away at the end of a test.
func (w *world) lifts() {
	w.Cleanup(func() {
		if _, err := fence.New(w.client).Lift(context.WithoutCancel(w.Context()), mark(1).Migration, nil); err != nil {
			w.Error(err)
		}
	})
}

// TestAFenceThatWasHalfPutUpIsFinished leaves what a run leaves that is killed between the policy and its binding.
func TestAFenceThatWasHalfPutUpIsFinished(t *testing.T) {
	w := newWorld(t, "halfway")
	w.lifts()
	rules := fence.Rules{Jobs: true, JobPods: &fence.Except{}, Claims: true}
	if _, err := fence.New(w.client).PutUp(t.Context(), mark(1), rules, nil); err != nil {
		t.Fatal(err)
	}
	binding := kube.Ref{Group: admission.Group, Kind: admission.Validating + "Binding", Name: fence.Name}
	if err := w.client.Delete(t.Context(), []kube.Ref{binding}, nil); err != nil {
		t.Fatal(err)
	}
	f := fence.New(w.client)
	if outcome, err := f.PutUp(t.Context(), mark(1), rules, nil); err != nil || outcome != plan.Changed {
		t.Fatalf("put up again: %s, %v", outcome, err)
	}
	if err := f.Holds(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestWhatWasRefusedIsTriedAgain pokes what lacks its pods, also when the run that took the fence away was killed before it
// did, or while it did; and what cannot be poked is no reason to fail.
func TestWhatWasRefusedIsTriedAgain(t *testing.T) {
	w := newWorld(t, "poked")
	if _, err := fence.New(w.client).PutUp(t.Context(), mark(1), fence.Rules{Claims: true}, nil); err != nil {
		t.Fatal(err)
	}
	w.mustApply(shop)
	w.refused("no pod mounts a claim")
	w.pods("dns", "web")
	db := kube.Ref{Group: "apps", Version: "v1", Kind: "StatefulSet", Namespace: w.name, Name: "db"}
	if err := w.client.MergePatch(t.Context(), db, []byte(`{"metadata":{"annotations":{"rekindle.dev/poked":"half"}}}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := admission.Remove(t.Context(), w.client, fence.Name, nil); err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	if outcome, err := fence.New(w.client).Lift(t.Context(), mark(1).Migration, nil); err != nil || outcome != plan.Unchanged {
		t.Fatalf("lift again: %s, %v", outcome, err)
	}
	poked := 0
	for _, write := range kwoktest.AuditWrites(t, kwoktest.Shared(t), since) {
		if write.Verb == "patch" && strings.Contains(write.URI, "/statefulsets/db") {
			poked++
		}
	}
	if poked != 2 {
		t.Errorf("the StatefulSet was poked by %d writes", poked)
	}
	w.pods("cache", "db", "dns", "web")
	if obj, err := w.client.Get(t.Context(), db); err != nil || len(obj.GetAnnotations()) > 0 {
		t.Errorf("left on the workload: %v, %v", obj.GetAnnotations(), err)
	}
	w.pokesInVain(db)
}

// pokesInVain has somebody's policy refuse all changes of a workload that lacks a pod.
func (w *world) pokesInVain(ref kube.Ref) {
	w.Helper()
	w.lifts()
	if _, err := fence.New(w.client).PutUp(w.Context(), mark(1), fence.Rules{Claims: true}, nil); err != nil {
		w.Fatal(err)
	}
	if _, err := fence.New(w.client).Clear(w.Context(), fence.Rules{Claims: true}, nil); err != nil {
		w.Fatal(err)
	}
	// As a run that was killed leaves it: it is poked, also when its controller is quicker.
	if err := w.client.MergePatch(w.Context(), ref, []byte(`{"metadata":{"annotations":{"rekindle.dev/poked":"half"}}}`)); err != nil {
		w.Fatal(err)
	}
	w.mustApply(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: NS-freeze}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NS}}
    resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [UPDATE], resources: [statefulsets]}]
  validations: [{expression: "false", message: nothing changes here}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: NS-freeze}
spec: {policyName: NS-freeze, validationActions: [Deny]}
`)
	w.Cleanup(func() {
		for _, kind := range []string{"Binding", ""} {
			freeze := kube.Ref{Group: admission.Group, Kind: admission.Validating + kind, Name: w.name + "-freeze"}
			if err := w.client.Delete(context.WithoutCancel(w.Context()), []kube.Ref{freeze}, nil); err != nil {
				w.Error(err)
			}
		}
	})
	w.until("the workload is frozen", func(ctx context.Context) (bool, string, error) {
		err := w.client.MergePatch(ctx, ref, []byte(`{"metadata":{"labels":{"a":"b"}}}`))
		return err != nil && strings.Contains(err.Error(), "nothing changes here"), "", nil
	})
	var warned []string
	outcome, err := fence.New(w.client).Lift(w.Context(), mark(1).Migration, func(u plan.Update) {
		if u.Warning != "" {
			warned = append(warned, u.Warning)
		}
	})
	if err != nil || outcome != plan.Changed {
		w.Errorf("lift: %s, %v", outcome, err)
	}
	if all := strings.Join(warned, "\n"); !strings.Contains(all, ref.String()) || !strings.Contains(all, "nothing changes here") {
		w.Errorf("it warns of %q", all)
	}
}

// TestAJobThatWaitsIsAwaitedAndGetsNoPod has a Job without a pod, as between two tries, and one that is suspended and resumed.
func TestAJobThatWaitsIsAwaitedAndGetsNoPod(t *testing.T) {
	w := newWorld(t, "waits")
	w.lifts()
	f := fence.New(w.client)
	all := fence.Rules{Jobs: true, JobPods: &fence.Except{}, Claims: true}
	if _, err := f.PutUp(t.Context(), mark(1), fence.Rules{JobPods: all.JobPods}, nil); err != nil {
		t.Fatal(err)
	}
	job := `
apiVersion: batch/v1
kind: Job
metadata: {name: report, namespace: NS}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: report, image: example.invalid/report}]}}}
`
	w.mustApply(job)
	w.refused("no Job runs")
	until, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := f.AwaitJobs(until, fence.Rules{Jobs: true}, func(u plan.Update) {
		if strings.Contains(u.Waiting, w.name+"/report") {
			cancel()
		}
	})
	if err == nil {
		t.Error("a Job that tries again is not awaited")
	}
	if err := f.AwaitJobs(t.Context(), all, nil); err != nil {
		t.Errorf("a Job that gets no pod is awaited: %v", err)
	}
	jobs := w.client.Typed().BatchV1().Jobs(w.name)
	suspend := func(text string) {
		if _, err := jobs.Patch(t.Context(), "report", types.MergePatchType, []byte(`{"spec":{"suspend":`+text+`}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	suspend("true")
	within, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := f.AwaitJobs(within, fence.Rules{Jobs: true}, nil); err != nil {
		t.Errorf("a suspended Job is awaited: %v", err)
	}
	if _, err := f.PutUp(t.Context(), mark(1), all, nil); err != nil {
		t.Fatal(err)
	}
	suspend("false")
	w.until("its pod is refused once more", func(ctx context.Context) (bool, string, error) {
		events, err := w.client.Typed().CoreV1().Events(w.name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, "", err
		}
		refused := int32(0)
		for _, e := range events.Items {
			if e.Reason == "FailedCreate" {
				refused += e.Count
			}
		}
		return refused > 1, "", nil
	})
	w.pods()
}

// TestProofsAreEndedAndOtherJobsAreNot has Jobs whose pods find no node: one of spec.verify, one that somebody else has labelled so,
// and one of spec.verify that has ended.
func TestProofsAreEndedAndOtherJobsAreNot(t *testing.T) {
	w := newWorld(t, "proofs")
	job := `
apiVersion: batch/v1
kind: Job
metadata: {name: NAME, namespace: NS, labels: {LABELS}}
spec: {template: {spec: {restartPolicy: Never, nodeSelector: {NODE}, containers: [{name: report, image: example.invalid/report}]}}}
`
	for _, one := range []struct{ name, labels, node string }{
		{"endless", "rekindle.dev/owner: rekindle, rekindle.dev/verifies: a", "no: where"},
		{"ended", "rekindle.dev/owner: rekindle, rekindle.dev/verifies: b", ""},
		{"report", "rekindle.dev/verifies: c", "no: where"},
	} {
		w.mustApply(strings.NewReplacer("NAME", one.name, "LABELS", one.labels, "NODE", one.node).Replace(job))
	}
	look := func(ctx context.Context) string {
		jobs, err := w.client.Typed().BatchV1().Jobs(w.name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err.Error()
		}
		var all []string
		for _, j := range jobs.Items {
			all = append(all, fmt.Sprintf("%s %d %d", j.Name, j.Status.Active, j.Status.Succeeded))
		}
		return strings.Join(all, ", ")
	}
	w.until("one of the Jobs has ended", func(ctx context.Context) (bool, string, error) {
		got := look(ctx)
		return got == "ended 0 1, endless 1 0, report 1 0", got, nil
	})
	if unfinished, err := fence.Unfinished(t.Context(), w.client, fence.Rules{}); err != nil || slices.Contains(unfinished, "proofs/endless") || !slices.Contains(unfinished, "proofs/report") {
		t.Errorf("awaited are %v, %v", unfinished, err)
	}
	if err := fence.New(w.client).EndProofs(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := look(t.Context()); got != "ended 0 1, report 1 0" {
		t.Errorf("left are %s", got)
	}
	if pods, err := w.client.Typed().CoreV1().Pods(w.name).List(t.Context(), metav1.ListOptions{LabelSelector: "job-name=endless"}); err != nil || len(pods.Items) > 0 {
		t.Errorf("%d pods of it are left, %v", len(pods.Items), err)
	}
}

// TestAFenceKnowsWhatClaimsHadWhenItsWritersWereStopped fills a claim anew behind a fence that a later run puts up once more.
func TestAFenceKnowsWhatClaimsHadWhenItsWritersWereStopped(t *testing.T) {
	w := newWorld(t, "had")
	w.lifts()
	filled := func(set string) {
		w.mustApply(`
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: NS, annotations: {rekindle.dev/restored: ` + set + `}}
spec: {storageClassName: NS, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`)
	}
	f, data := fence.New(w.client), fence.Claim{Namespace: w.name, Name: "data"}
	for i, run := range []struct {
		set   string
		rules fence.Rules
		knows string
	}{
		{"set-1", fence.Rules{Jobs: true}, ""},
		{"set-2", fence.Rules{Jobs: true, Claims: true}, "set-2"},
		{"set-3", fence.Rules{Claims: true}, "set-2"},
	} {
		filled(run.set)
		if _, err := f.PutUp(t.Context(), mark(1), run.rules, nil); err != nil {
			t.Fatal(err)
		}
		found, err := fence.Find(t.Context(), w.client)
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range []string{"set-1", "set-2", "set-3"} {
			if got := found.Had(data, set); got != (set == run.knows) {
				t.Errorf("run %d: had %s: %v", i, set, got)
			}
		}
	}
}

// TestWhatSlipsInWhileTheWritersEndIsEndedToo: another API server than the one that was asked may let a pod pass for a moment, when a
// ReplicaSet makes one in place of that which is being ended. Here there is no fence at all.
func TestWhatSlipsInWhileTheWritersEndIsEndedToo(t *testing.T) {
	w := newWorld(t, "slips")
	const writer = `
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: NS, labels: {app: slips}, finalizers: [example.com/slow]}
spec: {containers: [{name: slips, image: example.invalid/slips}]}
`
	pods := w.client.Typed().CoreV1().Pods(w.name)
	ending := func(name string) {
		w.until(name+" is being ended", func(ctx context.Context) (bool, string, error) {
			pod, err := pods.Get(ctx, name, metav1.GetOptions{})
			return err == nil && pod.DeletionTimestamp != nil, fmt.Sprint(err), nil
		})
	}
	w.Cleanup(func() { w.finish("first", "second") })
	w.mustApply(strings.Replace(writer, "NAME", "first", 1))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := fence.New(w.client).Clear(ctx, fence.Rules{Apps: []string{"slips"}}, nil)
		done <- err
	}()
	ending("first")
	w.mustApply(strings.Replace(writer, "NAME", "second", 1))
	ending("second")
	w.finish("first", "second")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// finish lets pods go that a finalizer holds.
func (w *world) finish(names ...string) {
	ctx := context.WithoutCancel(w.Context())
	for _, name := range names {
		_, err := w.client.Typed().CoreV1().Pods(w.name).Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			w.Error(err)
		}
	}
}
