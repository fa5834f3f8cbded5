package migrate

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/migrate/gate"
)

// Unhold is how a cluster that goes back to whoever made it is held back no more. Its record goes, too: whatever it tells, nobody
// removes the cluster without having been asked for it by Needed.
func Unhold() bootstrap.Unhold { return bootstrap.Unhold{Jobs: letJobsRun, All: unhold} }

// letJobsRun relaxes the fence of a cluster. What charts uninstall by is no writer that comes back: pods that mount claims, what acts
// outside and the Jobs of schedules stay refused.
func letJobsRun(ctx context.Context, c *kube.Client, p plan.Progress) (plan.Outcome, error) {
	found, err := fence.Find(ctx, c)
	if err != nil || found == nil {
		return plan.Unchanged, err
	}
	rules := found.Rules
	rules.Jobs, rules.JobPods, rules.Schedules = false, nil, rules.Jobs || rules.Schedules
	return fence.New(c).PutUp(ctx, found.Mark, rules, p)
}

func unhold(ctx context.Context, c *kube.Client, p plan.Progress) (plan.Outcome, error) {
	outcome := plan.Unchanged
	fenced, err := fence.Find(ctx, c)
	if err == nil && fenced != nil {
		outcome = plan.Changed
		_, err = fence.New(c).Lift(ctx, fenced.Migration, p)
	}
	if err != nil {
		return "", err
	}
	gated, err := gate.Find(ctx, c)
	if err == nil && gated != nil {
		outcome = plan.Changed
		_, err = gate.New(c).TakeAway(ctx, gated.Set, p)
	}
	if err != nil {
		return "", err
	}
	record, err := readRecord(ctx, c)
	if err != nil || record == nil {
		return outcome, err
	}
	return plan.Changed, c.Delete(ctx, []kube.Ref{kube.NewRef(corev1.SchemeGroupVersion.WithKind("ConfigMap"), recordNamespace, recordName)}, p)
}
