package volumes

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// NoMovers selects pods that move no data, neither for a run nor for a schedule.
const NoMovers = "!" + marks.Mover

// allMovers selects the movers of runs, not those of schedules.
const allMovers = marks.Mover + "=true"

// writes selects the movers that restore.
const writes = nameLabel + "=rekindle-" + verbRestore

// hintAway is what to do about a mover that writes on a node that cannot be reached.
const hintAway = "a pod on an unreachable node stays until the node is back; it may still run and write there: power the node off first, and only then kubectl delete node NAME"

// Clear removes all movers of a cluster, also those of a run that was killed, and returns when the pods of those are gone that
// restore: what one of them was told to write, it writes until then. The others only read. No other run may work on the cluster.
func Clear(ctx context.Context, c *kube.Client, p plan.Progress) error {
	if err := removeAll(ctx, c, allMovers); err != nil {
		return err
	}
	m := &Mover{Client: c}
	if err := wait.Poll(ctx, m.gone("all movers that write to be gone", metav1.NamespaceAll, allMovers+","+writes), lookEvery, p); err != nil {
		return fault.Wrap(err, fault.Failed, "its movers have not ended").On("cluster").
			WithHint(hintAway)
	}
	return nil
}

// removeAll removes the movers that a selector finds, and does not wait for it.
func removeAll(ctx context.Context, c *kube.Client, selector string) error {
	jobs, err := c.Typed().BatchV1().Jobs("").List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return fault.Wrap(err, fault.Failed, "list the movers")
	}
	m := &Mover{Client: c}
	var errs []error
	for i := range jobs.Items {
		errs = append(errs, m.remove(ctx, &jobs.Items[i]))
	}
	return fault.Join(errs...)
}

// gone holds when no pod of the movers is left that a selector finds.
func (m *Mover) gone(what, namespace, selector string) wait.Condition {
	return wait.Func(what, func(ctx context.Context) (bool, string, error) {
		pods, err := m.Client.Typed().CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return false, err.Error(), nil
		}
		if len(pods.Items) == 0 {
			return true, "", nil
		}
		one := &pods.Items[0]
		says := fmt.Sprintf("pod %s/%s is still there", one.Namespace, one.Name)
		if away, err := m.away(ctx, one.Spec.NodeName); err == nil && away {
			says += fmt.Sprintf(", its node %s is not Ready", one.Spec.NodeName)
		}
		return false, says, nil
	})
}

// sweepMovers removes the movers, with the credentials in their Secrets, that a killed run left and that nobody else comes
// to remove: those that were not let run yet never end, and no run comes for a claim that is gone.
func sweepMovers(ctx context.Context, c *kube.Client, p plan.Progress) error {
	jobs, err := c.Typed().BatchV1().Jobs("").List(ctx, metav1.ListOptions{LabelSelector: allMovers})
	if err != nil {
		return fault.Wrap(err, fault.Failed, "list the movers")
	}
	if len(jobs.Items) == 0 {
		return nil
	}
	claims, err := c.Typed().CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fault.Wrap(err, fault.Failed, "list the claims")
	}
	there := map[types.UID]bool{}
	for i := range claims.Items {
		there[claims.Items[i].UID] = true
	}
	m := &Mover{Client: c}
	var errs []error
	for i := range jobs.Items {
		if one := &jobs.Items[i]; isLeft(one, there) {
			p.Note(fmt.Sprintf("removed the mover %s/%s of an earlier run", one.Namespace, one.Name))
			errs = append(errs, m.remove(ctx, one))
		}
	}
	return fault.Join(errs...)
}

// isLeft says whether no run comes back to a mover.
func isLeft(j *batchv1.Job, claims map[types.UID]bool) bool {
	return ptr.Deref(j.Spec.Suspend, false) || !claims[types.UID(j.Labels[marks.Claim])]
}
