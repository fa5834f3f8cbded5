package bootstrap

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// checkJob runs the Job of a CronJob once for each commit, and wants it to succeed. A second run at
// the same commit finds that it did.
func (j *Job) checkJob(ctx context.Context, c config.Check, p plan.Progress) (plan.Outcome, error) {
	cron, err := j.client.Typed().BatchV1().CronJobs(c.Namespace).Get(ctx, c.Job, metav1.GetOptions{})
	if err != nil {
		return "", fault.Wrap(err, fault.Failed, "there is no such CronJob").On("check of job %s/%s", c.Namespace, c.Job).
			WithHint("spec.verify[].job names a CronJob of the repository (suspend: true keeps it from running by itself)")
	}
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("%.42s-verify-%.8s", c.Job, j.commit), Namespace: c.Namespace,
			Labels:      map[string]string{providers.LabelOwner: providers.Owner},
			Annotations: cron.Spec.JobTemplate.Annotations,
		},
		Spec: cron.Spec.JobTemplate.Spec,
	}
	outcome, err := j.startJob(ctx, job, p)
	if err != nil {
		return "", fault.Wrap(err, fault.Failed, "start it").On("check of job %s/%s", c.Namespace, c.Job)
	}
	ref := kube.NewRef(batchv1.SchemeGroupVersion.WithKind("Job"), c.Namespace, job.Name)
	if err := j.watcher.Ready(ctx, []kube.Ref{ref}, p); err != nil {
		return "", fault.Wrap(err, fault.Failed, "it did not succeed").On("check of job %s/%s", c.Namespace, c.Job).
			WithHint("after the cause is mended: kubectl -n %s delete job %s, and run the same command again", c.Namespace, job.Name)
	}
	return outcome, nil
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
	if err := kube.AwaitRoutes(ctx, kube.LastReady(pods.Items), "the newest pods are", p); err != nil {
		return "", err
	}
	if _, err := jobs.Create(ctx, job, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	return plan.Changed, nil
}
