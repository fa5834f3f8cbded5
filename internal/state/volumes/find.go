package volumes

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/state"
)

const skipValue = "skip" // of marks.Snapshot

// Volume is a claim of a cluster, as a snapshot finds it.
type Volume struct {
	state.Claim        // Skipped says why its data is left out on purpose
	Fault       error  // why its data cannot be had, although it should; nil for most
	Node        string // where a pod has it mounted; empty when none has
	Going       bool   // it is being deleted, and pods still have it mounted
	Hooked      []Pod  // running pods that mount it and have hooks
	Cut         string // class of the VolumeSnapshot that its data is read from, found by Cuts; empty: from itself

	uid      types.UID
	volume   string // that is bound to it
	capacity resource.Quantity
	coming   bool     // a pod that mounts it is on its way
	quiet    []string // pods that mount it and have hooks, also those that do not run yet
	held     bool     // it has a Fault because one pod alone can mount it, and for nothing else
}

// String is "shop/data-0".
func (v *Volume) String() string { return v.Namespace + "/" + v.Name }

// Taken says whether a snapshot takes its data.
func (v *Volume) Taken() bool { return v.Skipped == "" && v.Fault == nil }

// OptedOut says whether somebody wants its data to stay where it is.
func (v *Volume) OptedOut() bool { return v.Annotations[marks.Snapshot] == skipValue }

// Find lists the claims of the cluster in their order: those whose data a snapshot takes, those that are skipped, and
// those that ought to be taken and cannot be, each with the reason.
func Find(ctx context.Context, c *kube.Client) ([]Volume, error) {
	claims, err := c.Typed().CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "list the claims")
	}
	pods, err := c.Typed().CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "list the pods")
	}
	users := usersOf(pods.Items)
	volumes := make([]Volume, 0, len(claims.Items))
	for i := range claims.Items {
		pvc := &claims.Items[i]
		if pvc.Labels[marks.LabelOwner] == marks.Owner && pvc.Labels[marks.Cut] != "" {
			continue // it is one to read another through
		}
		volumes = append(volumes, found(pvc, users[pvc.Namespace+"/"+pvc.Name]))
	}
	slices.SortFunc(volumes, func(a, b Volume) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return volumes, nil
}

// found describes one claim, with all pods that mount it.
func found(pvc *corev1.PersistentVolumeClaim, all []*corev1.Pod) Volume {
	users := onNodes(all)
	v := Volume{uid: pvc.UID, volume: pvc.Spec.VolumeName, capacity: *pvc.Status.Capacity.Storage(), Claim: state.Claim{
		Namespace: pvc.Namespace, Name: pvc.Name, Class: ptr.Deref(pvc.Spec.StorageClassName, ""),
		VolumeMode:  string(ptr.Deref(pvc.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)),
		AccessModes: modes(pvc.Spec.AccessModes), Size: pvc.Spec.Resources.Requests.Storage().String(),
		Labels: pvc.Labels, Annotations: ownAnnotations(pvc.Annotations),
	}}
	if len(users) > 0 {
		v.Node = users[max(0, slices.IndexFunc(users, stays))].Spec.NodeName
	}
	if v.Skipped = skipped(pvc); v.Skipped != "" {
		v.Going = pvc.DeletionTimestamp != nil && len(users) > 0 && !v.OptedOut() && !isEphemeral(pvc)
		return v
	}
	if f := unreadable(pvc); f != nil {
		v.Fault = f.On("claim %s", &v)
		return v
	}
	for _, pod := range all {
		if why, _ := onItsWay(pod, time.Now()); why != "" {
			v.coming = true
		}
		if wantsHooks(pod) {
			v.quiet = append(v.quiet, pod.Namespace+"/"+pod.Name)
		}
	}
	var errs []error
	for _, pod := range users {
		hooked, err := hooksOf(pod)
		errs = append(errs, err)
		if hooked != nil {
			v.Hooked = append(v.Hooked, *hooked)
		}
	}
	v.Fault = fault.Join(errs...)
	if v.Fault == nil && len(users) > 0 && slices.Contains(pvc.Spec.AccessModes, corev1.ReadWriteOncePod) {
		v.Fault, v.held = occupied(pvc, users[0]).On("claim %s", &v), true
	}
	return v
}

// stays says whether a pod is not ending. On a node that is lost one is so for as long as the node is away, and no mover starts there.
func stays(pod *corev1.Pod) bool { return pod.DeletionTimestamp == nil }

// skipped says why a claim has nothing that a snapshot should take.
func skipped(pvc *corev1.PersistentVolumeClaim) string {
	switch {
	case pvc.Annotations[marks.Snapshot] == skipValue:
		return fmt.Sprintf("annotation %s: %s", marks.Snapshot, skipValue)
	case pvc.DeletionTimestamp != nil:
		return "it is being deleted"
	case pvc.Status.Phase == corev1.ClaimPending:
		return "it is Pending: no volume was ever bound to it"
	case isEphemeral(pvc):
		return fmt.Sprintf("it is ephemeral: it ends with the pod %s", metav1.GetControllerOf(pvc).Name)
	}
	return ""
}

// isEphemeral says whether a claim is of a generic ephemeral volume.
func isEphemeral(pvc *corev1.PersistentVolumeClaim) bool {
	owner := metav1.GetControllerOf(pvc)
	return owner != nil && owner.Kind == "Pod"
}

// unreadable says why the data of a claim cannot be read by a mover.
func unreadable(pvc *corev1.PersistentVolumeClaim) *fault.Error {
	optOut := leaveOut(pvc)
	switch {
	case pvc.Status.Phase == corev1.ClaimLost:
		return fault.New(fault.Failed, "the volume %s is gone, and the data with it", pvc.Spec.VolumeName).
			WithHint("restore the volume; if it is not needed, %s", optOut)
	case ptr.Deref(pvc.Spec.VolumeMode, "") == corev1.PersistentVolumeBlock:
		return fault.New(fault.Failed, "is a block device without a file system: only files can be saved").
			WithHint("back it up with the tools of the application that uses it; %s", optOut)
	}
	return nil
}

// occupied says that a claim which one pod alone can mount is mounted by one. Schedules and migrations tell it too, which read no
// VolumeSnapshots.
func occupied(pvc *corev1.PersistentVolumeClaim, by *corev1.Pod) *fault.Error {
	return fault.New(fault.Failed, "is ReadWriteOncePod and mounted by the pod %s: nothing else can mount it", by.Name).
		WithHint("rekindle snapshot reads it, with spec.state.volumeSnapshots: auto, where its CSI driver has a VolumeSnapshotClass; a schedule and a migration do not: ask for ReadWriteOnce, or scale the workload to 0 meanwhile; %s", leaveOut(pvc))
}

// leaveOut is how to do without the data of a claim.
func leaveOut(pvc *corev1.PersistentVolumeClaim) string {
	return fmt.Sprintf("kubectl annotate -n %s pvc %s %s=%s leaves it out", pvc.Namespace, pvc.Name, marks.Snapshot, skipValue)
}

func modes(of []corev1.PersistentVolumeAccessMode) []string {
	var names []string
	for _, mode := range of {
		names = append(names, string(mode))
	}
	return names
}

// ownAnnotations leaves out those that the machinery of one cluster wrote, which mean nothing in another.
func ownAnnotations(all map[string]string) map[string]string {
	var own map[string]string
	for name, value := range all {
		if ofMachinery(name) {
			continue
		}
		if own == nil {
			own = map[string]string{}
		}
		own[name] = value
	}
	return own
}

// ofMachinery says whether an annotation of a claim is written by the controllers of its cluster. The beta one of the storage
// class is not: people write it.
func ofMachinery(name string) bool {
	return strings.HasPrefix(name, "pv.kubernetes.io/") || strings.HasPrefix(name, "volume.kubernetes.io/") || strings.Contains(name, "storage.kubernetes.io/") ||
		name == "volume.beta.kubernetes.io/storage-provisioner" || name == corev1.LastAppliedConfigAnnotation
}

// Together groups the volumes that are taken for the same moment: those that a pod with hooks has in common. Most are
// alone. Volumes that are not taken are left out.
func Together(all []Volume) [][]Volume {
	var groups [][]Volume
	for _, v := range all {
		if !v.Taken() {
			continue
		}
		joined := []Volume{v}
		groups = slices.DeleteFunc(groups, func(group []Volume) bool {
			if !slices.ContainsFunc(group, func(other Volume) bool { return sharePod(&v, &other) }) {
				return false
			}
			joined = append(slices.Clone(group), joined...)
			return true
		})
		groups = append(groups, joined)
	}
	return groups
}

func sharePod(a, b *Volume) bool {
	return slices.ContainsFunc(a.quiet, func(pod string) bool { return slices.Contains(b.quiet, pod) })
}
