package volumes

import (
	"cmp"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// retain is the policy of a class, of volumes or of their snapshots, that leaves the storage there when the object is deleted.
const retain = "Retain"

// dropTimeout is how long a cut may take to be gone: a storage system may want to take its time.
const dropTimeout = 2 * time.Minute

// SweepCuts removes the VolumeSnapshots of ours, and the claims made from them, that a run left which was killed; and
// those of its movers that nothing else removes. No other run may work on the cluster meanwhile.
func SweepCuts(ctx context.Context, c *kube.Client, p plan.Progress) error {
	if err := sweepMovers(ctx, c, p); err != nil {
		return err
	}
	m := &Mover{Client: c}
	mine := metav1.ListOptions{LabelSelector: marks.LabelOwner + "=" + marks.Owner + "," + marks.Cut + "=true"}
	left := map[types.NamespacedName]types.UID{} // cut → claim that it is of
	claims, err := c.Typed().CoreV1().PersistentVolumeClaims("").List(ctx, mine)
	if err != nil {
		return fault.Wrap(err, fault.Failed, "list the claims that were made to read from")
	}
	for i := range claims.Items {
		one := &claims.Items[i]
		if one.Spec.DataSource == nil || one.Spec.DataSource.Name != one.Name {
			continue // whatever its labels say, it holds more than a moment of another
		}
		left[types.NamespacedName{Namespace: one.Namespace, Name: one.Name}] = types.UID(one.Labels[marks.Claim])
	}
	served, err := servesSnapshots(c)
	if err != nil {
		return err
	}
	if served {
		snapshots, err := m.snapshots("").List(ctx, mine)
		if err != nil {
			return fault.Wrap(err, fault.Failed, "list the VolumeSnapshots that were made to read from")
		}
		for i := range snapshots.Items {
			one := &snapshots.Items[i]
			left[types.NamespacedName{Namespace: one.GetNamespace(), Name: one.GetName()}] = types.UID(one.GetLabels()[marks.Claim])
		}
	}
	var errs []error
	for at, of := range left {
		p.Note(fmt.Sprintf("removed the VolumeSnapshot %s of an earlier run", at))
		err := m.removeOld(ctx, &task{namespace: at.Namespace, uid: of}, p)
		errs = append(errs, fault.Join(err, m.dropCut(ctx, &cut{namespace: at.Namespace, name: at.Name}, p)))
	}
	return fault.Join(errs...)
}

// dropCut removes a cut and what was made from it, also when the context has been cancelled, and also from storage that
// is kept by its class. That the storage system needs long for it is told, and no error.
func (m *Mover) dropCut(ctx context.Context, c *cut, p plan.Progress) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	err := fault.Join(m.dropCutClaim(ctx, c), m.dropCutSnapshot(ctx, c))
	if err != nil {
		return fault.Wrap(err, fault.Failed, "remove it").On("VolumeSnapshot %s/%s", c.namespace, c.name).
			WithHint("kubectl delete -n %[1]s pvc,volumesnapshot %[2]s; the next run does it too", c.namespace, c.name)
	}
	gone := wait.Func("the VolumeSnapshot "+c.namespace+"/"+c.name+" to be gone", func(ctx context.Context) (bool, string, error) {
		_, claimErr := m.Client.Typed().CoreV1().PersistentVolumeClaims(c.namespace).Get(ctx, c.name, metav1.GetOptions{})
		_, snapshotErr := m.snapshots(c.namespace).Get(ctx, c.name, metav1.GetOptions{})
		return apierrors.IsNotFound(claimErr) && apierrors.IsNotFound(snapshotErr), "", nil
	})
	if err := wait.Poll(ctx, gone, lookEvery, p); err != nil {
		p.Warn(fmt.Sprintf("the VolumeSnapshot %s/%s, or the claim of that name, is deleted and still there: the next run looks again (%v)", c.namespace, c.name, err))
	}
	m.dropLate(ctx, c, p)
	return nil
}

// dropLate has those volumes go that were made while the cut went. It has a time of its own: waiting may have used up the
// other. What was taken is whole whether or not it succeeds, and so it is no error.
func (m *Mover) dropLate(ctx context.Context, c *cut, p plan.Progress) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	if err := m.dropCutVolumes(ctx, c); err != nil {
		p.Warn(fmt.Sprintf("a volume that was made for the claim %s/%s may stay: kubectl get pv shows it (%v)", c.namespace, c.name, err))
	}
}

// dropCutVolumes has those volumes go that were made for the claim of a cut and are not bound to it yet, or are no longer.
func (m *Mover) dropCutVolumes(ctx context.Context, c *cut) error {
	core := m.Client.Typed().CoreV1()
	all, err := core.PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fault.Wrap(err, fault.Failed, "list the volumes")
	}
	var errs []error
	for i := range all.Items {
		one := &all.Items[i]
		if of := one.Spec.ClaimRef; of != nil && of.Namespace == c.namespace && of.Name == c.name {
			errs = append(errs, m.letGo(ctx, one))
		}
	}
	return fault.Join(errs...)
}

// letGo has the storage of a volume go with its claim.
func (m *Mover) letGo(ctx context.Context, pv *corev1.PersistentVolume) error {
	if pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
		return nil
	}
	_, err := m.Client.Typed().CoreV1().PersistentVolumes().Patch(ctx, pv.Name, types.MergePatchType,
		[]byte(`{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`), metav1.PatchOptions{FieldManager: kube.Manager})
	return ignoreNotFound(err)
}

// dropCutClaim deletes the claim of a cut, and sees to it that its volume goes with it.
func (m *Mover) dropCutClaim(ctx context.Context, c *cut) error {
	if err := m.dropCutVolumes(ctx, c); err != nil {
		return err
	}
	return ignoreNotFound(m.Client.Typed().CoreV1().PersistentVolumeClaims(c.namespace).Delete(ctx, c.name, metav1.DeleteOptions{}))
}

// dropCutSnapshot deletes the VolumeSnapshot of a cut, and sees to it that what the storage system holds goes with it.
func (m *Mover) dropCutSnapshot(ctx context.Context, c *cut) error {
	snapshot, err := m.snapshots(c.namespace).Get(ctx, c.name, metav1.GetOptions{})
	if err != nil {
		return ignoreNotFound(err)
	}
	bound, _, _ := unstructured.NestedString(snapshot.Object, "status", "boundVolumeSnapshotContentName")
	contents := m.Client.Dynamic().Resource(snapshotKinds().WithResource("volumesnapshotcontents"))
	// The controller gives a content this name before it tells of it.
	content, err := contents.Get(ctx, cmp.Or(bound, "snapcontent-"+string(snapshot.GetUID())), metav1.GetOptions{})
	if ignoreNotFound(err) != nil {
		return err
	}
	if err == nil {
		policy, _, _ := unstructured.NestedString(content.Object, "spec", "deletionPolicy")
		of, _, _ := unstructured.NestedString(content.Object, "spec", "volumeSnapshotRef", "uid")
		if policy == retain && of == string(snapshot.GetUID()) {
			_, err = contents.Patch(ctx, content.GetName(), types.MergePatchType, []byte(`{"spec":{"deletionPolicy":"Delete"}}`), metav1.PatchOptions{FieldManager: kube.Manager})
			if ignoreNotFound(err) != nil {
				return err
			}
		}
	}
	return ignoreNotFound(m.snapshots(c.namespace).Delete(ctx, c.name, metav1.DeleteOptions{}))
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
