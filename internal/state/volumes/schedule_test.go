package volumes_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
)

var access = state.Access{URL: "rest:https://state.example.com/", Env: map[string]string{"RESTIC_PASSWORD": "horse", "RESTIC_REST_USERNAME": "me"}}

func (w *world) schedule() *volumes.Schedule {
	w.Helper()
	due, err := state.ParseCron("0 3 1 1 *") // not while this runs
	if err != nil {
		w.Fatal(err)
	}
	return &volumes.Schedule{Client: w.client, Cluster: "prod", Due: due}
}

// own are the claims of the namespace: others of this cluster are those of other tests.
func (w *world) own() []volumes.Volume {
	w.Helper()
	all, err := volumes.Find(w.Context(), w.client)
	if err != nil {
		w.Fatal(err)
	}
	return slices.DeleteFunc(all, func(v volumes.Volume) bool { return v.Namespace != w.namespace })
}

func (w *world) install(want plan.Outcome) {
	w.Helper()
	if outcome, err := w.schedule().Install(w.Context(), w.own(), access, nil); err != nil || outcome != want {
		w.Fatalf("%s, %v; want %s", outcome, err, want)
	}
}

func (w *world) cronJobs() []batchv1.CronJob {
	w.Helper()
	list, err := w.client.Typed().BatchV1().CronJobs(w.namespace).List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return list.Items
}

func (w *world) says(want ...string) {
	w.Helper()
	since, err := w.schedule().Check(w.Context(), w.own())
	if len(want) == 0 && (err != nil || time.Since(since) > time.Hour) {
		w.Errorf("%s, %v", since, err)
	}
	for _, text := range want {
		if err == nil || !strings.Contains(err.Error(), text) {
			w.Errorf("want %q in: %v", text, err)
		}
	}
}

// TestAScheduleOutlivesAnUpgrade: a Job wants to be beside what the next pod has too, not beside the version of today.
func TestAScheduleOutlivesAnUpgrade(t *testing.T) {
	w := newWorld(t, "lasting")
	for _, name := range []string{"data-db-0", "files", "pg-1"} {
		w.claim(name, "ReadWriteOnce", "", "")
	}
	const pod = `labels: {app: x, helm.sh/chart: db-1.2.3, app.kubernetes.io/version: "15", tier: back}}
    spec:
      containers: [{name: main, image: example.invalid/x}]
`
	w.apply(`
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: NS}
spec:
  serviceName: db
  selector: {matchLabels: {app: x, tier: back}}
  template:
    metadata: {` + pod + `
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {storageClassName: NS, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS}
spec:
  selector: {matchLabels: {app: x}}
  template:
    metadata: {` + pod + `
      volumes: [{name: files, persistentVolumeClaim: {claimName: files}}]
---
apiVersion: v1
kind: Pod
metadata:
  name: pg-1
  namespace: NS
  labels: {app: pg-1, role: primary, cnpg.io/instanceRole: primary, cnpg.io/podRole: instance}
  ownerReferences: [{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, name: pg, uid: 0f4b4f0e-0000-4000-8000-000000000000, controller: true}]
spec:
  containers: [{name: main, image: example.invalid/x}]
  volumes: [{name: a, persistentVolumeClaim: {claimName: pg-1}}]
`)
	want := map[string]string{
		"data-db-0": "map[app:x statefulset.kubernetes.io/pod-name:db-0 tier:back]", "files": "map[app:x]", "pg-1": "map[app:pg-1]",
	}
	w.until("a pod of each claim has a node", func() bool {
		return len(slices.DeleteFunc(w.own(), func(v volumes.Volume) bool { return v.Node == "" })) == len(want)
	})
	w.install(plan.Changed)
	for _, c := range w.cronJobs() {
		_, claim, _ := strings.Cut(c.Annotations["rekindle.dev/snapshot-of"], "/")
		near := c.Spec.JobTemplate.Spec.Template.Spec.Affinity
		if near == nil || fmt.Sprint(near.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0].LabelSelector.MatchLabels) != want[claim] {
			t.Errorf("%s is taken beside %+v, want %s", claim, near, want[claim])
		}
	}
}

// TestASchedule is made, changes nothing the second time, tells what somebody changed, and goes.
func TestASchedule(t *testing.T) {
	w := newWorld(t, "schedule")
	w.claim("data.one", "ReadWriteOnce", "", "")
	w.claim("many", "ReadWriteMany", "", "")
	w.claim("skipped", "ReadWriteOnce", "rekindle.dev/snapshot: skip", "")
	w.apply(`
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: NS, labels: {app: db, controller-revision-hash: x, statefulset.kubernetes.io/pod-name: db-0}}
spec:
  containers: [{name: main, image: example.invalid/x}]
  volumes: [{name: a, persistentVolumeClaim: {claimName: data.one}}, {name: b, persistentVolumeClaim: {claimName: many}}]
`)
	w.until("the pod has a node", func() bool {
		pod, err := w.client.Typed().CoreV1().Pods("schedule").Get(t.Context(), "db-0", metav1.GetOptions{})
		return err == nil && pod.Spec.NodeName != ""
	})
	w.install(plan.Changed)
	w.install(plan.Unchanged)
	w.says()

	jobs := w.cronJobs()
	if len(jobs) != 2 {
		t.Fatalf("%+v", jobs)
	}
	one := jobs[slices.IndexFunc(jobs, func(c batchv1.CronJob) bool { return c.Annotations["rekindle.dev/snapshot-of"] == "schedule/data.one" })]
	template := one.Spec.JobTemplate.Spec.Template
	if one.Spec.Schedule != "0 3 1 1 *" || *one.Spec.TimeZone != "Etc/UTC" || one.Spec.ConcurrencyPolicy != batchv1.ForbidConcurrent || len(one.Name) > 52 {
		t.Errorf("%+v", one)
	}
	if template.Labels["rekindle.dev/mover"] == "true" {
		t.Error("the gate of a rebuild would let it take half-restored data")
	}
	if first := template.Spec.InitContainers[0]; fmt.Sprint(first.Args) != "[unlock --quiet]" || len(first.VolumeMounts) != 1 {
		t.Errorf("a lock of a killed run stays: %v, %v", first.Args, first.VolumeMounts)
	}
	takes, receipt := template.Spec.InitContainers[1], template.Spec.Containers[0]
	if got := fmt.Sprint(takes.Args); got != "[backup --json --retry-lock 1h --host prod --tag rekindle,schedule,claim=schedule/data.one --group-by host,paths,tags /data]" {
		t.Error(got)
	}
	if got := fmt.Sprint(receipt.Args); !strings.Contains(got, "rekindle,schedule,receipt,claim=schedule/data.one") || takes.Image != volumes.DefaultImage || receipt.Image != takes.Image {
		t.Error(got, takes.Image, receipt.Image)
	}
	if !takes.VolumeMounts[0].ReadOnly || takes.Resources.Limits.Memory().String() != "1Gi" || *template.Spec.AutomountServiceAccountToken {
		t.Errorf("%+v", takes)
	}
	near := template.Spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if got := near[0].LabelSelector.MatchLabels; len(near) != 1 || len(got) != 2 || got["statefulset.kubernetes.io/pod-name"] != "db-0" {
		t.Errorf("beside %v", near)
	}
	for _, c := range jobs {
		if c.Name != one.Name && c.Spec.JobTemplate.Spec.Template.Spec.Affinity != nil {
			t.Error("a volume that every node can have is bound to one")
		}
	}
	secret, err := w.client.Typed().CoreV1().Secrets("schedule").Get(t.Context(), takes.EnvFrom[0].SecretRef.Name, metav1.GetOptions{})
	if err != nil || len(secret.Data) != 3 || string(secret.Data["RESTIC_REPOSITORY"]) != access.URL || string(secret.Data["RESTIC_PASSWORD"]) != "horse" {
		t.Errorf("%v: %d entries, %v", takes.EnvFrom, len(secret.Data), err)
	}

	warned := func(url string, env map[string]string) (text string) {
		t.Helper()
		_, err := w.schedule().Install(t.Context(), w.own(), state.Access{URL: url, Env: env}, func(u plan.Update) { text += u.Warning })
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if text := warned(access.URL, map[string]string{"RESTIC_PASSWORD": "changed"}); !strings.Contains(text, "had RESTIC_REST_USERNAME of an earlier up") {
		t.Errorf("by somebody who has less of the credentials: %q", text)
	}
	if _, err := w.schedule().Install(t.Context(), w.own(), state.Access{URL: "rest:http://localhost:8000/", Env: access.Env}, nil); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "in a pod the pod itself") {
		t.Errorf("an address that pods do not reach: %v", err)
	}
	for _, url := range []string{access.URL, "s3:https://s3.example.com/b", access.URL} {
		if text := warned(url, access.Env); text != "" {
			t.Errorf("%s: %s", url, text)
		}
	}
	w.delete("Pod", "db-0") // scaled to 0: it stays as it was
	w.install(plan.Unchanged)
	w.claim("later", "ReadWriteOnce", "", "")
	w.says("claim schedule/later: has no CronJob: the schedule does not take it")
	suspend := []byte(`{"spec":{"suspend":true}}`)
	if _, err := w.client.Typed().BatchV1().CronJobs("schedule").Patch(t.Context(), one.Name, types.MergePatchType, suspend, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	w.says("claim schedule/data.one: its CronJob", "spec.suspend")
	w.delete("PersistentVolumeClaim", "many")
	w.says("takes the claim schedule/many, which the schedule no longer includes")
	if _, err := w.schedule().Install(t.Context(), w.own(), access, nil); err == nil {
		w.says()
	} else if !strings.Contains(err.Error(), "suspend") { // or it is refused, as what another has set
		t.Error(err)
	}
	if outcome, err := volumes.RemoveSchedule(t.Context(), w.client, nil); err != nil || outcome != plan.Changed || len(w.cronJobs()) != 0 {
		t.Errorf("%s, %v", outcome, err)
	}
	if _, err := w.client.Typed().CoreV1().Secrets("schedule").Get(t.Context(), secret.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the credentials are left: %v", err)
	}
	if outcome, err := volumes.RemoveSchedule(t.Context(), w.client, nil); err != nil || outcome != plan.Unchanged {
		t.Errorf("again: %s, %v", outcome, err)
	}
}

// TestAScheduleTellsItsFailure: the last Job of a claim that ended counts, not one of before.
func TestAScheduleTellsItsFailure(t *testing.T) {
	w := newWorld(t, "schedule-fails")
	w.claim("data", "ReadWriteOnce", "", "")
	w.install(plan.Changed)
	defer func() {
		if _, err := volumes.RemoveSchedule(w.Context(), w.client, nil); err != nil {
			t.Error(err)
		}
	}()
	w.ended("first", batchv1.JobFailed)
	w.says("claim schedule-fails/data: its last scheduled snapshot, of ", "failed: DeadlineExceeded: too late")
	first := time.Now().Truncate(time.Second)
	w.until("the next second, which is what times of objects are told in", func() bool { return time.Since(first) > time.Second })
	w.ended("second", batchv1.JobComplete)
	w.says()
}

// TestAScheduledJobThatDoesNotStartIsExplained: it would stay so for a day, and keep others from being taken.
func TestAScheduledJobThatDoesNotStartIsExplained(t *testing.T) {
	for namespace, c := range map[string]struct{ manifest, says, hint string }{
		"start-quota": {"apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: tight, namespace: NS}\nspec: {hard: {limits.cpu: '1'}}",
			"does not start: Job start-quota/job: FailedCreate: ", "let the quota of the namespace have room"},
		"start-room": {"apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: tight, namespace: NS}\nspec: {hard: {limits.memory: 100Mi}}",
			"exceeded quota: tight", "let the quota of the namespace have room"},
		"start-restricted": {"apiVersion: v1\nkind: Namespace\nmetadata: {name: NS, labels: {pod-security.kubernetes.io/enforce: restricted}}",
			"violates PodSecurity", "let the namespace enforce baseline"},
		"start-nowhere": {"", "does not start: Job start-nowhere/job: pod unschedulable: ", "kubectl describe job,pod -n start-nowhere"},
		"start-well":    {"", "", ""},
	} {
		t.Run(namespace, func(t *testing.T) { // one after another: what makes a schedule removes the CronJobs of others
			w := newWorld(t, namespace)
			w.claim("data", "ReadWriteOnce", "", "")
			if c.manifest != "" {
				w.apply(c.manifest)
			}
			if strings.Contains(c.manifest, "ResourceQuota") {
				w.until("the quota counts", func() bool {
					quota, err := w.client.Typed().CoreV1().ResourceQuotas(namespace).Get(w.Context(), "tight", metav1.GetOptions{})
					return err == nil && len(quota.Status.Hard) > 0
				})
			}
			job := w.begun(namespace == "start-nowhere")
			now := job.CreationTimestamp.Add(4 * time.Minute)
			if err := w.schedule().Unstarted(t.Context(), job, now); err != nil {
				t.Errorf("it has just begun: %v", err)
			}
			now = now.Add(2 * time.Minute)
			says := func() string { return fault.Text(w.schedule().Unstarted(t.Context(), job, now)) }
			if c.says == "" {
				w.until("its pod runs", func() bool { return says() == "" })
				return
			}
			w.until("the cause is known", func() bool { return strings.Contains(says(), c.says) })
			if got := says(); !strings.Contains(got, "claim "+namespace+"/data: its scheduled snapshot, of ") || !strings.Contains(got, c.hint) {
				t.Errorf("told: %s", got)
			}
		})
	}
}

// TestAMoverThatAQuotaRefusesIsToldAtOnce: nothing that ends makes room for what a quota wants of each pod.
func TestAMoverThatAQuotaRefusesIsToldAtOnce(t *testing.T) {
	w := newWorld(t, "quota")
	w.claim("data", "ReadWriteOnce", "", "")
	w.apply("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: tight, namespace: NS}\nspec: {hard: {limits.cpu: '1'}}")
	w.until("the quota counts", func() bool {
		quota, err := w.client.Typed().CoreV1().ResourceQuotas("quota").Get(w.Context(), "tight", metav1.GetOptions{})
		return err == nil && len(quota.Status.Hard) > 0
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m := &volumes.Mover{Client: w.client, Access: access, Cluster: "c", Set: "s"}
	_, err := m.Backup(ctx, []volumes.Volume{w.find()["data"]}, nil)
	if text := fault.Text(err); ctx.Err() != nil || !strings.Contains(text, "failed quota: tight") || !strings.Contains(text, "is limited to 1Gi of memory") || !strings.Contains(text, "a LimitRange") {
		t.Errorf("told: %s", text)
	}
}

// begun makes a Job of the schedule, which begins.
func (w *world) begun(nowhere bool) *batchv1.Job {
	w.Helper()
	w.install(plan.Changed)
	template := w.cronJobs()[0].Spec.JobTemplate
	if nowhere {
		template.Spec.Template.Spec.NodeSelector = map[string]string{"example.com/no": "node"}
	}
	job, err := w.client.Typed().BatchV1().Jobs(w.namespace).Create(w.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "job", Labels: template.Labels, Annotations: template.Annotations}, Spec: template.Spec,
	}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		background := metav1.DeletePropagationBackground
		if err := w.client.Typed().BatchV1().Jobs(w.namespace).Delete(context.WithoutCancel(w.Context()), "job", metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
			w.Error(err)
		}
	})
	for _, c := range w.cronJobs() { // other tests of this cluster count the CronJobs of all namespaces
		if err := w.client.Typed().BatchV1().CronJobs(w.namespace).Delete(w.Context(), c.Name, metav1.DeleteOptions{}); err != nil {
			w.Fatal(err)
		}
	}
	return job
}

// ended makes a Job of the schedule and has it end so, as a controller says.
func (w *world) ended(name string, how batchv1.JobConditionType) {
	w.Helper()
	template := w.cronJobs()[0].Spec.JobTemplate
	template.Spec.Suspend = new(true)
	jobs := w.client.Typed().BatchV1().Jobs(w.namespace)
	job, err := jobs.Create(w.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: template.Labels, Annotations: template.Annotations}, Spec: template.Spec,
	}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
	before, now := batchv1.JobFailureTarget, metav1.Now()
	if how == batchv1.JobComplete {
		before = batchv1.JobSuccessCriteriaMet
	}
	for _, condition := range []batchv1.JobConditionType{before, how} {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{
			Type: condition, Status: corev1.ConditionTrue, Reason: "DeadlineExceeded", Message: "too late", LastTransitionTime: now,
		})
	}
	job.Status.StartTime = &now
	if how == batchv1.JobComplete {
		job.Status.CompletionTime, job.Status.Succeeded = &now, 1
	}
	w.until("the Job has ended", func() bool {
		now, err := jobs.Get(w.Context(), name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		now.Status.Conditions, now.Status.StartTime, now.Status.CompletionTime, now.Status.Succeeded = job.Status.Conditions, job.Status.StartTime, job.Status.CompletionTime, job.Status.Succeeded
		_, err = jobs.UpdateStatus(w.Context(), now, metav1.UpdateOptions{})
		if err != nil {
			w.Log(err)
		}
		return err == nil
	})
}

// delete deletes an object of the namespace and waits until it is gone.
func (w *world) delete(kind, name string) {
	w.Helper()
	version := schema.GroupVersionKind{Version: "v1", Kind: kind}
	if err := w.client.Delete(w.Context(), []kube.Ref{kube.NewRef(version, w.namespace, name)}, nil); err != nil {
		w.Fatal(err)
	}
}
