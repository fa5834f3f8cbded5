package bootstrap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// noteChange remembers that a step changed something of what the Jobs of spec.verify look at. A step that failed may have.
func (j *Job) noteChange(id plan.ID, do plan.Do) plan.Do {
	if id == contextID {
		return do
	}
	return func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
		outcome, err := do(ctx, p)
		if err != nil || outcome == plan.Changed || outcome == plan.Adopted {
			j.changed.Store(true)
		}
		return outcome, err
	}
}

// checkJob runs the Job of a CronJob, and wants it to succeed. Where one has succeeded on all that there is now, and this run
// changed nothing, that is the proof. Bringing data back is a change.
func (j *Job) checkJob(ctx context.Context, c config.Check, p plan.Progress) (plan.Outcome, error) {
	job, err := j.jobOf(ctx, c)
	if err != nil {
		return "", err
	}
	outcome, err := j.startJob(ctx, job, p)
	if err != nil {
		return "", fault.Wrap(err, fault.Failed, "start the Job").On("check of job %s/%s", c.Namespace, c.Job)
	}
	return outcome, j.awaitJob(ctx, c, job, p)
}

// lookAtJob is checkJob that starts nothing: a Job that is not there, or not any more, shows nothing.
func (j *Job) lookAtJob(ctx context.Context, c config.Check, p plan.Progress) (plan.Outcome, error) {
	job, err := j.jobOf(ctx, c)
	if err != nil {
		return "", err
	}
	found, err := j.client.Get(ctx, refOfJob(job))
	switch {
	case err != nil:
		return "", fault.Wrap(err, fault.Failed, "read the Job").On("check of job %s/%s", c.Namespace, c.Job)
	case found == nil:
		p.Note(fmt.Sprintf("there is no Job %s; rekindle up runs it", job.Name))
		return plan.Unproven, nil
	case isComplete(found): // one look is enough: an up may remove it before another
		return plan.Unchanged, nil
	}
	return plan.Unchanged, j.awaitJob(ctx, c, job, p)
}

// jobOf is the Job of a check on what there is now.
func (j *Job) jobOf(ctx context.Context, c config.Check) (*batchv1.Job, error) {
	cron, err := j.client.Typed().BatchV1().CronJobs(c.Namespace).Get(ctx, c.Job, metav1.GetOptions{})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "no such CronJob").On("check of job %s/%s", c.Namespace, c.Job).
			WithHint("spec.verify[].job names a CronJob of the repository (suspend: true keeps it from running by itself)")
	}
	spec := *cron.Spec.JobTemplate.Spec.DeepCopy()
	spec.TTLSecondsAfterFinished = nil // a proof that goes by itself proves nothing to the next run; startJob removes the old ones
	shown, err := j.shownBy(ctx, c, spec)
	if err != nil {
		return nil, err
	}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: verifyPrefix(c) + shown, Namespace: c.Namespace,
			Labels:      map[string]string{providers.LabelOwner: providers.Owner, marks.Verifies: digest(c.Namespace, c.Job)},
			Annotations: cron.Spec.JobTemplate.Annotations,
		},
		Spec: spec,
	}, nil
}

// verifyPrefix leaves room in the name for a digest.
func verifyPrefix(c config.Check) string {
	return strings.TrimRight(fmt.Sprintf("%.42s", c.Job), "-.") + "-verify-"
}

// shownBy is a digest of all that a Job shows something of: itself, the commit, the releases, by what they are made from and by
// the revision, which is another one also when a release was put right, and what a run that did not come to its end may have
// brought, keys and data.
func (j *Job) shownBy(ctx context.Context, c config.Check, spec batchv1.JobSpec) (string, error) {
	installed, err := helm.List(ctx, j.client)
	if err != nil {
		return "", err
	}
	releases := map[string]any{}
	for _, r := range j.stack.Releases {
		at := slices.IndexFunc(installed, func(i helm.Installed) bool { return i.Name == r.Name && i.Namespace == r.Namespace })
		revision := 0
		if at >= 0 {
			revision = installed[at].Revision
		}
		releases[r.Namespace+"/"+r.Name] = []any{r.Inputs(), revision}
	}
	brought, err := j.brought(ctx)
	return digest(c.Namespace, c.Job, spec, j.commit, releases, brought), err
}

// brought are the Secrets of keys, by when rekindle wrote them, and the claims, by the sets that they were filled from.
func (j *Job) brought(ctx context.Context) (map[string]any, error) {
	all := map[string]any{}
	for _, k := range j.docs.Cluster.Spec.Keys {
		obj, err := j.client.Get(ctx, kube.NewRef(corev1.SchemeGroupVersion.WithKind("Secret"), k.Namespace, k.Name))
		if err != nil {
			return nil, err
		}
		if obj == nil {
			continue // the step of the keys tells
		}
		for _, w := range obj.GetManagedFields() {
			if w.Manager == kube.Manager {
				all["key "+k.Namespace+"/"+k.Name] = []any{obj.GetUID(), w.Time}
			}
		}
	}
	claims, err := j.client.Typed().CoreV1().PersistentVolumeClaims(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, c := range claims.Items {
		if set := c.Annotations[marks.Restored]; set != "" {
			all["claim "+c.Namespace+"/"+c.Name] = []any{c.UID, set}
		}
	}
	return all, nil
}

// digest is a short one of values.
func digest(values ...any) string {
	raw, err := json.Marshal(values) // maps are marshalled in key order
	if err != nil {
		panic(fmt.Sprintf("bootstrap: digest: %v", err)) // these always marshal
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:5])
}

// awaitJob waits until the Job has succeeded.
func (j *Job) awaitJob(ctx context.Context, c config.Check, job *batchv1.Job, p plan.Progress) error {
	if err := j.watcher.Until(ctx, refOfJob(job), "complete", succeeded, p); err != nil {
		return fault.Wrap(err, fault.Failed, "did not succeed").On("check of job %s/%s", c.Namespace, c.Job).
			WithHint("after the cause is fixed: kubectl -n %s delete job %s, and run the same command again", job.Namespace, job.Name)
	}
	return nil
}

// succeeded judges a Job: ready when it is complete, and not when it is suspended, which is well but proves nothing.
func succeeded(obj *unstructured.Unstructured) kube.Health {
	if obj == nil {
		return kube.Health{Message: "does not exist"}
	}
	h := kube.HealthOf(obj)
	h.Ready = h.Ready && isComplete(obj)
	return h
}

func isComplete(job *unstructured.Unstructured) bool {
	complete, _, _ := kube.Condition(job, "Complete")
	return complete == "True"
}

func refOfJob(job *batchv1.Job) kube.Ref {
	return kube.NewRef(batchv1.SchemeGroupVersion.WithKind("Job"), job.Namespace, job.Name)
}

// startJob makes a Job unless it is there and shows what is to be shown. Those of before are removed.
func (j *Job) startJob(ctx context.Context, job *batchv1.Job, p plan.Progress) (plan.Outcome, error) {
	anew := j.changed.Load()
	jobs := j.client.Typed().BatchV1().Jobs(job.Namespace)
	list, err := jobs.List(ctx, metav1.ListOptions{LabelSelector: providers.LabelOwner + "=" + providers.Owner})
	if err != nil {
		return "", err
	}
	var old []kube.Ref
	have := false
	for i := range list.Items {
		one := &list.Items[i]
		switch {
		case one.Name == job.Name && !anew:
			have = true
		case one.Name == job.Name, one.Labels[marks.Verifies] == job.Labels[marks.Verifies]:
			old = append(old, refOfJob(one))
		}
	}
	outcome := plan.Unchanged
	if len(old) > 0 {
		outcome = plan.Changed
		if err := j.client.Delete(ctx, old, p); err != nil {
			return "", err
		}
	}
	if have {
		return outcome, nil
	}
	return plan.Changed, j.createJob(ctx, job, p)
}

// createJob makes a Job when the newest pods of its namespace can be reached: one that meets nobody fails, and is tried again after
// ten seconds, if at all.
func (j *Job) createJob(ctx context.Context, job *batchv1.Job, p plan.Progress) error {
	pods, err := j.client.Typed().CoreV1().Pods(job.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	if err := j.client.AwaitRoutes(ctx, kube.LastReady(pods.Items), "the newest pods are", p); err != nil {
		return err
	}
	_, err = j.client.Typed().BatchV1().Jobs(job.Namespace).Create(ctx, job, metav1.CreateOptions{})
	return err
}
