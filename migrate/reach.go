package migrate

import (
	"context"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// forPods finds out beforehand whether movers will be able to use the repository.
func (r *Rebuild) forPods(p plan.Progress) error {
	if len(r.claims) == 0 || r.job.Simulated() {
		return nil
	}
	warning, err := r.o.Sets.ForPods()
	if warning != "" {
		p.Warn(warning)
	}
	return err
}

// forPods does so for a snapshot, before it begins.
func (s *Snapshot) forPods(p plan.Progress) error {
	if s.job.Simulated() {
		return nil
	}
	warning, err := s.repository.ForPods()
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
