package bootstrap

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// checkJob runs the Job of a CronJob once for each commit, and wants it to succeed. A second run at
// the same commit finds that it did.
func (j *Job) checkJob(ctx context.Context, c config.Check, p plan.Progress) (plan.Outcome, error) {
	job, err := j.jobOf(ctx, c)
	if err != nil {
		return "", err
	}
	outcome, err := j.startJob(ctx, job, p)
	if err != nil {
		return "", fault.Wrap(err, fault.Failed, "start it").On("check of job %s/%s", c.Namespace, c.Job)
	}
	return outcome, j.awaitJob(ctx, c, job, p)
}

// lookAtJob is checkJob that starts nothing: a Job that is not there, or not any more, shows nothing.
func (j *Job) lookAtJob(ctx context.Context, c config.Check, p plan.Progress) (plan.Outcome, error) {
	job, err := j.jobOf(ctx, c)
	if err != nil {
		return "", err
	}
	_, err = j.client.Typed().BatchV1().Jobs(job.Namespace).Get(ctx, job.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		p.Note(fmt.Sprintf("there is no Job %s; rekindle up runs it", job.Name))
		return plan.Unproven, nil
	case err != nil:
		return "", fault.Wrap(err, fault.Failed, "read it").On("check of job %s/%s", c.Namespace, c.Job)
	}
	return plan.Unchanged, j.awaitJob(ctx, c, job, p)
}

// jobOf is the Job of a check at this commit.
func (j *Job) jobOf(ctx context.Context, c config.Check) (*batchv1.Job, error) {
	cron, err := j.client.Typed().BatchV1().CronJobs(c.Namespace).Get(ctx, c.Job, metav1.GetOptions{})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "there is no such CronJob").On("check of job %s/%s", c.Namespace, c.Job).
			WithHint("spec.verify[].job names a CronJob of the repository (suspend: true keeps it from running by itself)")
	}
	name := fmt.Sprintf("%.42s-verify", c.Job)
	if j.commit != "" { // there is none without a source
		name += fmt.Sprintf("-%.8s", j.commit)
	}
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: c.Namespace,
			Labels:      map[string]string{providers.LabelOwner: providers.Owner},
			Annotations: cron.Spec.JobTemplate.Annotations,
		},
		Spec: cron.Spec.JobTemplate.Spec,
	}, nil
}

// awaitJob waits until the Job has succeeded.
func (j *Job) awaitJob(ctx context.Context, c config.Check, job *batchv1.Job, p plan.Progress) error {
	ref := kube.NewRef(batchv1.SchemeGroupVersion.WithKind("Job"), job.Namespace, job.Name)
	if err := j.watcher.Until(ctx, ref, "complete", succeeded, p); err != nil {
		return fault.Wrap(err, fault.Failed, "it did not succeed").On("check of job %s/%s", c.Namespace, c.Job).
			WithHint("after the cause is mended: kubectl -n %s delete job %s, and run the same command again", job.Namespace, job.Name)
	}
	return nil
}

// succeeded judges a Job: ready when it is complete, and not when it is suspended, which is well but proves nothing.
func succeeded(obj *unstructured.Unstructured) kube.Health {
	if obj == nil {
		return kube.Health{Message: "does not exist"}
	}
	h := kube.HealthOf(obj)
	if complete, _, _ := kube.Condition(obj, "Complete"); complete != "True" {
		h.Ready = false
	}
	return h
}

// startJob makes a Job that is not there yet, when the newest pods of its namespace can be reached: one that meets nobody fails, and
// is tried again after ten seconds, if at all.
func (j *Job) startJob(ctx context.Context, job *batchv1.Job, p plan.Progress) (plan.Outcome, error) {
	jobs := j.client.Typed().BatchV1().Jobs(job.Namespace)
	_, err := jobs.Get(ctx, job.Name, metav1.GetOptions{})
	if err == nil || !apierrors.IsNotFound(err) {
		return plan.Unchanged, err
	}
	pods, err := j.client.Typed().CoreV1().Pods(job.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	if err := j.client.AwaitRoutes(ctx, kube.LastReady(pods.Items), "the newest pods are", p); err != nil {
		return "", err
	}
	if _, err := jobs.Create(ctx, job, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	return plan.Changed, nil
}
