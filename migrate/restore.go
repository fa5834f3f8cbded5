package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// errReplaced says that a claim went while it was being filled: another of its name may be there, which is empty.
var errReplaced = errors.New("the claim was recreated while its data was restored")

// restore fills one claim, once it exists, and lets its pods start. One that is made anew meanwhile is filled again.
func (r *Rebuild) restore(ctx context.Context, c *claim, p plan.Progress) (plan.Outcome, error) {
	if r.gate == nil {
		return plan.Unchanged, nil // the gate's step has seen that everything is there
	}
	for {
		outcome, err := r.restoreOnce(ctx, c, p)
		if !errors.Is(err, errReplaced) || ctx.Err() != nil {
			return outcome, err
		}
		p.Note(fmt.Sprintf("filled again: %v", err))
	}
}

func (r *Rebuild) restoreOnce(ctx context.Context, c *claim, p plan.Progress) (plan.Outcome, error) {
	pvc, err := r.await(ctx, c, p)
	switch {
	case err != nil:
		return "", err
	case pvc == nil:
		p.Warn(fmt.Sprintf("the repository does not make the claim %s any more: its data stays in the set %s", c.at, r.set.ID))
		return plan.Unchanged, nil
	case pvc.Annotations[marks.Restored] == r.set.ID:
		return plan.Unchanged, r.lift(ctx, c)
	}
	if err := holds(c.Claim, pvc.Spec.Resources.Requests.Storage().String()); err != nil {
		return "", err
	}
	leave, err := r.mayFill(ctx, c, pvc, p)
	if err != nil {
		return "", err
	}
	if leave {
		p.Warn(fmt.Sprintf("claim %s is left as it is, as its annotation %s says: its data stays in the set %s", c.at, marks.Snapshot, r.set.ID))
		c.left = true
		return plan.Unchanged, r.lift(ctx, c)
	}
	if err := r.fill(ctx, c, pvc, p); err != nil {
		if ctx.Err() != nil || errors.Is(err, errReplaced) {
			return "", err
		}
		return "", fault.Wrap(err, fault.Failed, "its data was not restored").On("claim %s", c.at).
			WithHint("its pods are held back by the gate, and nothing is lost: fix the cause and run the same command again")
	}
	c.filled = true
	return plan.Changed, r.lift(ctx, c)
}

// lift lets the pods of a claim start that wait, unless the cluster only stands by.
func (r *Rebuild) lift(ctx context.Context, c *claim) error {
	if r.o.Standby != nil {
		return nil
	}
	return r.gate.Lift(ctx, c.at)
}

// fill brings the data of a claim when there is room for a further mover.
func (r *Rebuild) fill(ctx context.Context, c *claim, pvc *corev1.PersistentVolumeClaim, p plan.Progress) error {
	defer r.way.fills()()
	like, free, err := r.mates.together(ctx, r.job.Client(), pvc, c.pod, p)
	if err != nil {
		return err
	}
	defer free()
	free, err = r.slots.take(ctx, c.priority, p)
	if err != nil {
		return err
	}
	defer free()
	return fill(ctx, r.job.Client(), r.restorer, c.Claim, pvc.UID, like, r.set.ID, p)
}

// fill brings the data of a set into the claim with the UID, and marks it before and after. A name says nothing: what is there
// afterwards may be another claim, which has nothing. That is errReplaced.
func fill(ctx context.Context, c *kube.Client, with Restorer, claim state.Claim, uid types.UID, like *corev1.PodSpec, set string, p plan.Progress) error {
	err := remark(ctx, c, claim, uid, fmt.Sprintf("%q:%q,%q:null", marks.Restoring, set, marks.Restored))
	if err == nil {
		err = with.Restore(ctx, claim, claim.Namespace, claim.Name, like, p)
	}
	if err == nil {
		err = remark(ctx, c, claim, uid, fmt.Sprintf("%q:%q,%q:null", marks.Restored, set, marks.Restoring))
	}
	if ctx.Err() != nil {
		return cmp.Or(err, ctx.Err())
	}
	is, looked := c.Typed().CoreV1().PersistentVolumeClaims(claim.Namespace).Get(ctx, claim.Name, metav1.GetOptions{})
	goes := apierrors.IsNotFound(looked) || looked == nil && (is.UID != uid || is.DeletionTimestamp != nil)
	switch {
	case goes && err != nil:
		return fmt.Errorf("%w: %w", errReplaced, err)
	case goes: // it took all of its data, and goes with it: the next one has nothing
		return errReplaced
	case err == nil && looked != nil:
		return fmt.Errorf("see whether it was recreated: %w", looked)
	}
	return err
}

// remark changes annotations of the claim with the UID, and of no other.
func remark(ctx context.Context, c *kube.Client, claim state.Claim, uid types.UID, annotations string) error {
	ref := kube.NewRef(corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"), claim.Namespace, claim.Name)
	return c.MergePatch(ctx, ref, fmt.Appendf(nil, `{"metadata":{"uid":%q,"annotations":{%s}}}`, uid, annotations))
}

// await waits until the claim exists, or makes it; one that is being deleted is none. It gives none when the repository is
// applied and has not made one that it was not known to make.
func (r *Rebuild) await(ctx context.Context, c *claim, p plan.Progress) (*corev1.PersistentVolumeClaim, error) {
	if c.make != nil {
		return r.make(ctx, c, p)
	}
	waiting, cancel := r.appears(ctx, c)
	defer cancel()
	for gone := types.UID(""); ; {
		var seen types.UID
		err := r.job.Watcher().Until(waiting, refOf(c), "there", func(obj *unstructured.Unstructured) kube.Health {
			if obj != nil {
				seen = obj.GetUID()
			}
			return kube.Health{Ready: obj != nil && obj.GetDeletionTimestamp() == nil && seen != gone, Message: "is not made yet"}
		}, p)
		if err != nil && (c.known || ctx.Err() != nil || waiting.Err() == nil) {
			return nil, err
		}
		appeared := err == nil
		pvc, err := r.job.Client().Typed().CoreV1().PersistentVolumeClaims(c.at.Namespace).Get(ctx, c.at.Name, metav1.GetOptions{})
		switch {
		case appeared && (apierrors.IsNotFound(err) || err == nil && pvc.DeletionTimestamp != nil):
			gone = seen // a watch is a little behind: that is the one before, which was just deleted
		case apierrors.IsNotFound(err) && !c.known:
			return nil, nil
		default:
			return pvc, err
		}
	}
}

// make makes a claim that does not exist yet, or not any more.
func (r *Rebuild) make(ctx context.Context, c *claim, p plan.Progress) (*corev1.PersistentVolumeClaim, error) {
	limited, cancel := context.WithTimeout(ctx, appearTimeout)
	defer cancel()
	err := r.job.Watcher().Until(limited, refOf(c), "no longer being deleted", func(obj *unstructured.Unstructured) kube.Health {
		return kube.Health{Ready: obj == nil || obj.GetDeletionTimestamp() == nil, Message: "is being deleted"}
	}, p)
	if err != nil {
		return nil, err
	}
	claims := r.job.Client().Typed().CoreV1().PersistentVolumeClaims(c.at.Namespace)
	pvc, err := claims.Get(ctx, c.at.Name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return pvc, err
	}
	if err := ensureNamespace(ctx, r.job.Client(), c.at.Namespace); err != nil {
		return nil, err
	}
	pvc, err = claims.Create(ctx, c.make, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return claims.Get(ctx, c.at.Name, metav1.GetOptions{})
	}
	return pvc, err
}

func refOf(c *claim) kube.Ref {
	return kube.NewRef(corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"), c.at.Namespace, c.at.Name)
}
