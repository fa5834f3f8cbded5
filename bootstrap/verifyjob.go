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
	jobs := j.client.Typed().BatchV1()
	cron, err := jobs.CronJobs(c.Namespace).Get(ctx, c.Job, metav1.GetOptions{})
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
	outcome := plan.Changed
	_, err = jobs.Jobs(c.Namespace).Create(ctx, job, metav1.CreateOptions{})
	switch {
	case apierrors.IsAlreadyExists(err):
		outcome = plan.Unchanged
	case err != nil:
		return "", fault.Wrap(err, fault.Failed, "start it").On("check of job %s/%s", c.Namespace, c.Job)
	}
	ref := kube.NewRef(batchv1.SchemeGroupVersion.WithKind("Job"), c.Namespace, job.Name)
	if err := j.watcher.Ready(ctx, []kube.Ref{ref}, p); err != nil {
		return "", fault.Wrap(err, fault.Failed, "it did not succeed").On("check of job %s/%s", c.Namespace, c.Job).
			WithHint("after the cause is mended: kubectl -n %s delete job %s, and run the same command again", c.Namespace, job.Name)
	}
	return outcome, nil
}
