package migrate

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/migrate/gate"
)

// carrySchedules tells the CronJobs of one cluster when those of the other ran last: else each that had an appointment
// since it was made would begin at once, although it ran there.
func carrySchedules(ctx context.Context, from, to *kube.Client) (plan.Outcome, error) {
	list, err := from.Typed().BatchV1().CronJobs("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list CronJobs: %w", err)
	}
	outcome := plan.Unchanged
	var errs []error
	for i := range list.Items {
		was := &list.Items[i]
		if was.Status.LastScheduleTime == nil {
			continue
		}
		changed, err := carrySchedule(ctx, was, to)
		if err != nil {
			errs = append(errs, fault.Wrap(err, fault.Failed, "set the time of its last run").On("CronJob %s/%s", was.Namespace, was.Name))
		}
		if changed {
			outcome = plan.Changed
		}
	}
	return outcome, fault.Join(errs...)
}

func carrySchedule(ctx context.Context, was *batchv1.CronJob, to *kube.Client) (bool, error) {
	jobs := to.Typed().BatchV1().CronJobs(was.Namespace)
	is, err := jobs.Get(ctx, was.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil || is.Status.LastScheduleTime != nil && !is.Status.LastScheduleTime.Before(was.Status.LastScheduleTime) {
		return false, err
	}
	is.Status.LastScheduleTime = was.Status.LastScheduleTime
	_, err = jobs.UpdateStatus(ctx, is, metav1.UpdateOptions{})
	return err == nil, err
}

// exempt are the claims whose data stays where it is: pods may mount them on both sides.
func exempt(ctx context.Context, c *kube.Client) ([]fence.Claim, error) {
	all, err := volumes.Find(ctx, c)
	if err != nil {
		return nil, err
	}
	var stay []fence.Claim
	for i := range all {
		if all[i].OptedOut() {
			stay = append(stay, fence.Claim{Namespace: all[i].Namespace, Name: all[i].Name})
		}
	}
	return stay, nil
}

// mountsOneOf matches volumes of a namespace's pods that a gate holds back.
func mountsOneOf(namespace string, g *gate.Found) func(corev1.Volume) bool {
	waits := waitingBehind(g)
	return func(v corev1.Volume) bool {
		return v.PersistentVolumeClaim != nil && waits[gate.Claim{Namespace: namespace, Name: v.PersistentVolumeClaim.ClaimName}]
	}
}

// waitingBehind are the claims whose pods a gate holds back; none without a gate.
func waitingBehind(g *gate.Found) map[gate.Claim]bool {
	waits := map[gate.Claim]bool{}
	if g != nil {
		for _, claim := range g.Waiting {
			waits[claim] = true
		}
	}
	return waits
}
