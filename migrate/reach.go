package migrate

import (
	"context"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// forPods finds out beforehand whether movers in the cluster of a job will be able to use a repository.
func forPods(job *bootstrap.Job, repository interface{ ForPods() (string, error) }, p plan.Progress) error {
	if job.Simulated() {
		return nil
	}
	warning, err := repository.ForPods()
	if warning != "" {
		p.Warn(warning)
	}
	return err
}

// reaches refuses a repository of state that is a folder of this machine where a cluster's pods cannot reach that.
func reaches(ctx context.Context, local bool, jobs ...*bootstrap.Job) error {
	var errs []error
	for _, job := range jobs {
		if !local {
			continue
		}
		err := job.ReachesHost(ctx)
		if err == nil {
			continue
		}
		docs := job.Documents()
		errs = append(errs, fault.Wrap(err, fault.Usage, "spec.state.repository: %s is a folder of this machine, which pods of a cluster of the provider %s do not reach",
			docs.Cluster.Spec.State.Repository, job.Ref().Provider).At(docs.Place("spec.state.repository")).
			WithHint("name a repository that both reach, such as s3:… or rest:…"))
	}
	return fault.Join(errs...)
}
