package volumes

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// cutPrefix begins the names of what a volume is read through.
const cutPrefix = "rekindle-cut-"

// cutTimeout is how long a storage system may take to hold a moment; hooks keep an application quiet for so long at most.
// That a snapshot can be read takes some of them hours more, and is awaited as long as the step may take.
const cutTimeout = 5 * time.Minute

// cut is one moment of a volume: a VolumeSnapshot, and a claim that is made from it, both with the same name.
type cut struct {
	namespace, name string
	size            resource.Quantity // that a volume made from it has at least
}

// cut has the storage system hold this moment of a volume, and returns when it does; the volume may change then. What
// is made is removed again with every error.
func (m *Mover) cut(ctx context.Context, v *Volume, p plan.Progress) (_ *cut, err error) {
	c := &cut{v.Namespace, cutPrefix + rand.String(8), v.room()}
	labels := map[string]string{marks.LabelOwner: marks.Owner, marks.Cut: "true", marks.Claim: string(v.uid)}
	obj := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"volumeSnapshotClassName": v.Cut, "source": map[string]any{"persistentVolumeClaimName": v.Name},
	}}}
	obj.SetGroupVersionKind(snapshotKinds().WithKind("VolumeSnapshot"))
	obj.SetNamespace(c.namespace)
	obj.SetName(c.name)
	obj.SetLabels(labels)
	obj.SetAnnotations(map[string]string{marks.Set: m.Set})
	defer func() {
		if err != nil {
			err = errors.Join(err, m.dropCut(ctx, c, p))
		}
	}()
	_, err = m.snapshots(c.namespace).Create(ctx, obj, metav1.CreateOptions{FieldManager: kube.Manager})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "create a VolumeSnapshot of it").On("claim %s", v).WithHint("%s", uncut(v))
	}
	limited, cancel := context.WithTimeout(ctx, cutTimeout)
	defer cancel()
	err = m.until(limited, c, "the storage system to hold this moment of "+v.String(), p, func(now *unstructured.Unstructured) bool {
		at, _, _ := unstructured.NestedString(now.Object, "status", "creationTime")
		return at != "" || ready(now)
	})
	if err != nil {
		return nil, fault.Wrap(err, fault.KindOf(err), "VolumeSnapshot of class %s", v.Cut).On("claim %s", v).
			WithHint("see whether the snapshot controller and the driver's snapshotter run; %s", uncut(v))
	}
	p.Note(fmt.Sprintf("%s is held as it is now", v))
	return c, nil
}

// uncut is how to do without.
func uncut(v *Volume) string {
	return fmt.Sprintf("kubectl annotate -n %s pvc %s %s=%s reads the volume itself", v.Namespace, v.Name, marks.VolumeSnapshot, neverValue)
}

// until waits for something of the VolumeSnapshot of a cut.
func (m *Mover) until(ctx context.Context, c *cut, what string, p plan.Progress, holds func(*unstructured.Unstructured) bool) error {
	return wait.Poll(ctx, wait.Func(what, func(ctx context.Context) (bool, string, error) {
		now, err := m.snapshots(c.namespace).Get(ctx, c.name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return false, "", fault.New(fault.Failed, "somebody removed it").On("VolumeSnapshot %s/%s", c.namespace, c.name)
		case err != nil:
			return false, err.Error(), nil
		}
		why, _, _ := unstructured.NestedString(now.Object, "status", "error", "message")
		return holds(now), why, nil
	}), lookEvery, p)
}

func ready(snapshot *unstructured.Unstructured) bool {
	is, _, _ := unstructured.NestedBool(snapshot.Object, "status", "readyToUse")
	return is
}

// backupCut takes the data of a volume as its cut holds it. In the repository it is the volume's: what was taken of it before is
// not sent again.
func (m *Mover) backupCut(ctx context.Context, v *Volume, c *cut, p plan.Progress) (state.Claim, error) {
	wrap := func(err error) error {
		return fault.Wrap(err, fault.KindOf(err), "read its VolumeSnapshot").On("claim %s", v).WithHint("%s", uncut(v))
	}
	err := m.until(ctx, c, "the VolumeSnapshot of "+v.String()+" to be ready to be read", p, func(now *unstructured.Unstructured) bool {
		text, _, _ := unstructured.NestedString(now.Object, "status", "restoreSize")
		if size, err := resource.ParseQuantity(text); err == nil && size.Cmp(c.size) > 0 {
			c.size = size
		}
		return ready(now)
	})
	if err != nil {
		return state.Claim{}, wrap(err)
	}
	if _, err := m.Client.Typed().CoreV1().PersistentVolumeClaims(c.namespace).Create(ctx, cutClaim(v, c, m.Set), metav1.CreateOptions{FieldManager: kube.Manager}); err != nil {
		return state.Claim{}, wrap(err)
	}
	t := backupTask(v, m.Cluster, m.Set, m.Parents[v.String()])
	t.claim, t.node, t.alone = c.name, "", true // the volume made of it may be on another node,
	t.near = v.Node                             // but a disk of a node can make one only there
	return m.backup(ctx, v, t, p)
}

// cutClaim is the claim by which a cut is read: with the class and the modes of the one that it is of, and never smaller.
func cutClaim(v *Volume, c *cut, set string) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Name: c.name, Namespace: c.namespace, Annotations: map[string]string{marks.Set: set},
			Labels: map[string]string{marks.LabelOwner: marks.Owner, marks.Cut: "true", marks.Claim: string(v.uid)},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: ptr.To(v.Class),
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: c.size}},
			DataSource: &corev1.TypedLocalObjectReference{
				APIGroup: ptr.To(snapshotKinds().Group), Kind: "VolumeSnapshot", Name: c.name,
			},
		},
	}
	for _, mode := range v.AccessModes {
		claim.Spec.AccessModes = append(claim.Spec.AccessModes, corev1.PersistentVolumeAccessMode(mode))
	}
	return claim
}

// room is the size that a volume made from a cut of this one has at least.
func (v *Volume) room() resource.Quantity {
	asked, err := resource.ParseQuantity(v.Size)
	if err != nil || v.capacity.Cmp(asked) > 0 {
		return v.capacity
	}
	return asked
}
