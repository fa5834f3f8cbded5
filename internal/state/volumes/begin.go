package volumes

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// Repository is one of state, as far as Begin needs it.
type Repository interface {
	Name() string
	Init(ctx context.Context) (created bool, err error)
	Sets(ctx context.Context) ([]state.Summary, error)
}

// Begin opens the repository of a cluster, and gives its sets, the newest first. One that is not there is made, and that is told
// with its address: a wrong one, or a disk that is not mounted, looks like this. It is refused if the cluster has had sets, as
// then a repository should be there.
func Begin(ctx context.Context, c *kube.Client, r Repository, cluster string, p plan.Progress) (sets []state.Summary, created bool, err error) {
	sets, err = r.Sets(ctx)
	missing := state.NoRepository(err)
	if err != nil && !missing {
		return nil, false, err
	}
	if missing {
		why, err := hadSets(ctx, c, cluster)
		if err != nil {
			return nil, false, err
		}
		if why != "" {
			return nil, false, fault.New(fault.Refused, "is not there, and should be: %s", why).On("state repository %s", r.Name()).
				WithHint("see whether spec.state.repository is right and, if it is a folder, its disk is mounted; if a new one is wanted, create it: RESTIC_REPOSITORY=%s RESTIC_PASSWORD=… restic init (rekindle assets restic gets the program)", r.Name())
		}
	}
	if created, err = r.Init(ctx); err != nil {
		return nil, false, err
	}
	if created {
		p.Warn(fmt.Sprintf("a new, empty state repository was made at %s: if there should have been one, see whether spec.state.repository is right and its disk mounted; without its password, nothing in it can be restored", r.Name()))
	}
	warnOfFuture(sets, time.Now(), p)
	return sets, created, nil
}

// hadSets says by what a cluster is known to have had snapshot sets; empty when by nothing.
func hadSets(ctx context.Context, c *kube.Client, cluster string) (string, error) {
	jobs, err := c.Typed().BatchV1().CronJobs("").List(ctx, metav1.ListOptions{LabelSelector: ofSchedule})
	if err != nil {
		return "", fault.Wrap(err, fault.Failed, "list the CronJobs of the schedule")
	}
	for i := range jobs.Items {
		job := &jobs.Items[i]
		for _, container := range job.Spec.JobTemplate.Spec.Template.Spec.InitContainers {
			if at := slices.Index(container.Args, "--host"); at >= 0 && slices.Contains(container.Args[at:], cluster) {
				return fmt.Sprintf("the CronJob %s/%s takes snapshots of %s", job.Namespace, job.Name, cluster), nil
			}
		}
	}
	claims, err := c.Typed().CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fault.Wrap(err, fault.Failed, "list the claims")
	}
	for i := range claims.Items {
		if set := claims.Items[i].Annotations[marks.Restored]; set != "" {
			return fmt.Sprintf("the claim %s/%s was restored from the set %s", claims.Items[i].Namespace, claims.Items[i].Name, set), nil
		}
	}
	return "", nil
}

// warnOfFuture tells that a set which is taken now is not the newest.
func warnOfFuture(sets []state.Summary, now time.Time, p plan.Progress) {
	if len(sets) > 0 && sets[0].Time.After(now) {
		p.Warn(fmt.Sprintf("the set %s begins after now, %s: the clock of this machine is behind, or that of the one which took it was ahead; until then a set of now is not the newest, and rebuild does not choose it by itself: give --at",
			sets[0].ID, now.UTC().Format(time.RFC3339)))
	}
}
