package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/stacks"
)

const smoke = `apiVersion: batch/v1
kind: CronJob
metadata: {name: NAME, namespace: default}
spec:
  schedule: "0 0 1 1 *"
  suspend: true
  jobTemplate:
    spec: {template: {spec: {restartPolicy: Never, containers: [{name: x, image: example.com/x}]}}}
`

// prove runs a check as up does, and gives the outcome and the uid of the one Job that is there of it.
func (j *Job) prove(t *testing.T, c config.Check) (plan.Outcome, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	outcome, err := j.checkJob(ctx, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	list, err := j.client.Typed().BatchV1().Jobs(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: marks.Verifies + "=" + digest(c.Namespace, c.Job)})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("there are %d Jobs of %s (%v)", len(list.Items), c.Job, err)
	}
	return outcome, string(list.Items[0].UID)
}

// revision has Helm know another revision of the release app.
func (j *Job) revision(t *testing.T, number int) {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name: fmt.Sprintf("sh.helm.release.v1.app.v%d", number), Namespace: "proofs",
		Labels: map[string]string{"owner": "helm", "name": "app", "version": fmt.Sprint(number), "rekindle.dev/owner": "rekindle"},
	}}
	if _, err := j.client.Typed().CoreV1().Secrets("proofs").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A Job shows something of what it has run on, and of nothing else.
func TestAJobIsRunAgainForWhatItHasNotSeen(t *testing.T) {
	const claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: proofs}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}\n---\n"
	j := newLive(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: proofs}\n---\n"+claim+strings.NewReplacer("NAME", "smoke", "namespace: default", "namespace: proofs").Replace(smoke))
	check := config.Check{Job: "smoke", Namespace: "proofs"}
	j.stack.Releases = []*stacks.Release{{Release: config.Release{Name: "app", Namespace: "proofs"}}}
	template := func(image string) {
		t.Helper()
		patch := fmt.Sprintf(`{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"containers":[{"name":"x","image":%q}]}}}}}}`, image)
		if err := j.client.MergePatch(t.Context(), kube.Ref{Group: "batch", Version: "v1", Kind: "CronJob", Namespace: "proofs", Name: "smoke"}, []byte(patch)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { // others release all claims, and here nothing takes away what protects this one
		ctx, data := context.WithoutCancel(t.Context()), kube.Ref{Version: "v1", Kind: "PersistentVolumeClaim", Namespace: "proofs", Name: "data"}
		if err := errors.Join(j.client.MergePatch(ctx, data, []byte(`{"metadata":{"finalizers":null}}`)), j.client.Delete(ctx, []kube.Ref{data}, nil)); err != nil {
			t.Error(err)
		}
	})
	j.docs.Cluster.Spec.Keys = []config.Key{{Name: "key", Namespace: "proofs"}}
	key := func(content string) { // as a run that came no further
		t.Helper()
		j.secrets = []keys.Secret{{Name: "key", Namespace: "proofs", Type: config.DefaultSecretType, Data: map[string][]byte{"x": []byte(content)}}}
		if _, err := j.applySecrets(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, last := j.prove(t, check)
	for _, c := range []struct {
		what   string
		change func()
	}{
		{"a commit", func() { j.commit = "0123456789abcdef" }},
		{"a commit of the same first digits", func() { j.commit = "0123456789abcdee" }},
		{"the commit of before", func() { j.commit = "0123456789abcdef" }},
		{"a release", func() { j.revision(t, 1) }},
		{"a release that was put right", func() { j.revision(t, 2) }},
		{"the Job itself", func() { template("example.com/y") }},
		{"a key", func() { key("one") }},
		{"another content of it", func() {
			for second := time.Now().Unix(); time.Now().Unix() == second; { // Kubernetes tells whole ones
				time.Sleep(time.Until(time.Unix(second+1, 0)))
			}
			key("two")
		}},
		{"a volume that was restored", func() {
			restored := kube.Ref{Version: "v1", Kind: "PersistentVolumeClaim", Namespace: "proofs", Name: "data"}
			if err := j.client.MergePatch(t.Context(), restored, []byte(`{"metadata":{"annotations":{"rekindle.dev/restored":"20260101-000000-abcdef"}}}`)); err != nil {
				t.Fatal(err)
			}
		}},
		{"a change by this run", func() {
			changes := j.noteChange("sync", func(context.Context, plan.Progress) (plan.Outcome, error) { return plan.Changed, nil })
			if _, err := changes(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}},
		{"a handover", j.ProveAnew},
	} {
		c.change()
		outcome, uid := j.prove(t, check)
		if outcome != plan.Changed || uid == last {
			t.Errorf("%s: %s, the same Job: %t", c.what, outcome, uid == last)
		}
		last = uid
		j.changed.Store(false) // as another run
		unchanged := j.noteChange("sync", func(context.Context, plan.Progress) (plan.Outcome, error) { return plan.Unchanged, nil })
		if _, err := unchanged(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if outcome, uid := j.prove(t, check); outcome != plan.Unchanged || uid != last {
			t.Errorf("%s, once more: %s, the same Job: %t", c.what, outcome, uid == last)
		}
	}
}

// Two CronJobs whose names are cut to the same have a Job each.
func TestJobsOfLongNamesAreNotShared(t *testing.T) {
	const long = "a-smoke-test-of-the-whole-shop-with-its-da.tabase"
	one, two := long+"1", long+"2"
	j := newLive(t, strings.Replace(smoke, "NAME", one, 1)+"---\n"+strings.Replace(smoke, "NAME", two, 1))
	_, first := j.prove(t, config.Check{Job: one, Namespace: "default"})
	outcome, second := j.prove(t, config.Check{Job: two, Namespace: "default"})
	if outcome != plan.Changed || first == second {
		t.Errorf("%s, the same Job: %t", outcome, first == second)
	}
	if _, again := j.prove(t, config.Check{Job: one, Namespace: "default"}); again != first {
		t.Error("one removes the Job of the other")
	}
}

// A Job that would go by itself when it has ended stays, for the next run.
func TestAProofDoesNotGoByItself(t *testing.T) {
	j := newLive(t, strings.NewReplacer("NAME", "short-lived", "spec: {template", "spec: {ttlSecondsAfterFinished: 0, template").Replace(smoke))
	check := config.Check{Job: "short-lived", Namespace: "default"}
	_, first := j.prove(t, check)
	if outcome, again := j.prove(t, check); outcome != plan.Unchanged || again != first {
		t.Errorf("once more: %s, the same Job: %t", outcome, again == first)
	}
	if outcome, err := j.lookAtJob(t.Context(), check, nil); outcome != plan.Unchanged || err != nil {
		t.Errorf("status: %s, %v", outcome, err)
	}
}

func TestStatusRunsNoJob(t *testing.T) {
	j := newLive(t, strings.Replace(smoke, "NAME", "looked-at", 1))
	check := config.Check{Job: "looked-at", Namespace: "default"}
	j.follower, j.docs.Cluster.Spec.Verify = nil, []config.Check{check}
	status := j.Status(t.Context()).Step("check/1")
	t.Cleanup(j.Close)
	var note string
	outcome, err := status.Do(t.Context(), func(u plan.Update) { note += u.Note })
	if outcome != plan.Unproven || err != nil || !strings.Contains(note, "looked-at-verify-") {
		t.Errorf("before: %s, %v, %q", outcome, err, note)
	}
	if jobs, err := j.client.Typed().BatchV1().Jobs("default").List(t.Context(), metav1.ListOptions{LabelSelector: marks.Verifies + "=" + digest("default", "looked-at")}); err != nil || len(jobs.Items) > 0 {
		t.Errorf("status has made %d Jobs (%v)", len(jobs.Items), err)
	}
	j.prove(t, check)
	if outcome, err := status.Do(t.Context(), nil); outcome != plan.Unchanged || err != nil {
		t.Errorf("after: %s, %v", outcome, err)
	}
}

func TestOnlyACompleteJobHasSucceeded(t *testing.T) {
	job := func(suspend bool, condition string) *unstructured.Unstructured {
		conditions := []any{}
		if condition != "" {
			conditions = append(conditions, map[string]any{"type": condition, "status": "True"})
		}
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "batch/v1", "kind": "Job", "spec": map[string]any{"suspend": suspend}, "status": map[string]any{"conditions": conditions},
		}}
	}
	for name, c := range map[string]struct {
		obj           *unstructured.Unstructured
		ready, failed bool
		says          string
	}{
		"none":      {nil, false, false, "does not exist"},
		"suspended": {job(true, "Suspended"), false, false, "suspended"},
		"running":   {job(false, ""), false, false, "not complete"},
		"failed":    {job(false, "Failed"), false, true, "Failed=True"},
		"complete":  {job(false, "Complete"), true, false, ""},
	} {
		h := succeeded(c.obj)
		if h.Ready != c.ready || h.Failed != c.failed || !strings.Contains(h.Message, c.says) {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

// A CronJob that is not there is told, and made by nobody.
func TestACheckOfNoCronJobFails(t *testing.T) {
	j := newLive(t, "")
	for _, ask := range []jobCheck{j.checkJob, j.lookAtJob} {
		if _, err := ask(t.Context(), config.Check{Job: "nobody", Namespace: "default"}, nil); fault.KindOf(err) != fault.Failed {
			t.Errorf("got %v", err)
		}
	}
}
