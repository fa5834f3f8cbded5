package migrate

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/migrate/gate"
)

// Of volumes that a provisioner makes, and of classes whose volumes none makes.
const (
	provisionedBy = "pv.kubernetes.io/provisioned-by"
	noProvisioner = "kubernetes.io/no-provisioner"
)

// lasting is the storage that is there before a cluster and after it: volumes that people made, such as a share or a disk. What it
// has may be newer than any set, or in use by another cluster, and a restore would replace it. A provisioner makes volumes for one
// claim, which begin empty.
type lasting struct {
	volumes []corev1.PersistentVolume // that the documents are known to make
	class   string                    // of claims that name none; empty where that is not known
	fresh   bool                      // folders and disks of nodes have nothing that is to stay
}

// lastingOf finds what the documents of a job say of such storage.
func lastingOf(job *bootstrap.Job) (*lasting, error) {
	l := &lasting{}
	for _, obj := range job.Desired() {
		if obj.GroupVersionKind().GroupKind().String() != "PersistentVolume" {
			continue
		}
		var pv corev1.PersistentVolume
		if err := read(obj, &pv); err != nil {
			return nil, err
		}
		l.volumes = append(l.volumes, pv)
	}
	if brought, known := broughtBy(job.Ref().Provider); known {
		l.class = brought[0]
	}
	l.fresh = job.Ref().Provider == "kind" && !job.Documents().MountsThisMachine() // its nodes are containers of its own
	return l, nil
}

// ofTarget is lastingOf of the target of a migration: folders and disks of its nodes are not the source's, but where both are containers
// that mount those of this machine.
func ofTarget(job *bootstrap.Job) (*lasting, error) {
	l, err := lastingOf(job)
	if err == nil {
		l.fresh = l.fresh || job.Ref().Provider != "kind"
	}
	return l, err
}

// lastingStorage is that of the cluster which the data comes to.
func (r *Rebuild) lastingStorage() (*lasting, error) {
	if r.o.Standby != nil {
		return ofTarget(r.job)
	}
	return lastingOf(r.job)
}

// of says why a claim that the documents make gets such storage; empty where that is not sure.
func (l *lasting) of(want wanted) string {
	spec := want.spec
	if spec.StorageClassName == nil && l.class != "" {
		spec.StorageClassName = &l.class
	}
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: want.Namespace, Name: want.Name}, Spec: spec}
	if spec.StorageClassName == nil && spec.VolumeName == "" {
		pvc.Spec.StorageClassName = ptr.To("(default)") // no class has this name: a volume that names the claim alone is sure
	}
	return l.gets(pvc, l.volumes)
}

// gets says which of the volumes a claim is bound to, or will be as far as they tell, if that lasts.
func (l *lasting) gets(pvc *corev1.PersistentVolumeClaim, of []corev1.PersistentVolume) string {
	if name := pvc.Spec.VolumeName; name != "" {
		i := slices.IndexFunc(of, func(pv corev1.PersistentVolume) bool { return pv.Name == name })
		if i >= 0 && l.isFresh(&of[i]) {
			return ""
		}
		return fmt.Sprintf("it names the PersistentVolume %s (spec.volumeName)", name)
	}
	for i := range of {
		if pv := &of[i]; takes(pvc, pv) && !l.isFresh(pv) {
			return fmt.Sprintf("it takes the PersistentVolume %s, which no provisioner made", pv.Name)
		}
	}
	return ""
}

// isFresh says whether a volume is a folder or a disk of a node that has nothing to lose.
func (l *lasting) isFresh(pv *corev1.PersistentVolume) bool {
	return l.fresh && (pv.Spec.HostPath != nil || pv.Spec.Local != nil)
}

// takes says whether the control plane would bind an unbound claim to a volume, rather than have one made.
func takes(pvc *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) bool {
	if of := pv.Spec.ClaimRef; of != nil {
		return of.Namespace == pvc.Namespace && of.Name == pvc.Name && (of.UID == "" || of.UID == pvc.UID)
	}
	has, wants := pv.Spec.Capacity[corev1.ResourceStorage], pvc.Spec.Resources.Requests[corev1.ResourceStorage]
	selector, err := metav1.LabelSelectorAsSelector(pvc.Spec.Selector)
	switch {
	case err != nil, pv.Spec.StorageClassName != ptr.Deref(pvc.Spec.StorageClassName, ""), has.Cmp(wants) < 0:
		return false
	case pvc.Spec.Selector != nil && !selector.Matches(labels.Set(pv.Labels)):
		return false
	case ptr.Deref(pv.Spec.VolumeMode, corev1.PersistentVolumeFilesystem) != ptr.Deref(pvc.Spec.VolumeMode, corev1.PersistentVolumeFilesystem):
		return false
	}
	return !slices.ContainsFunc(pvc.Spec.AccessModes, func(mode corev1.PersistentVolumeAccessMode) bool { return !slices.Contains(pv.Spec.AccessModes, mode) })
}

// has says why a claim of a cluster has, or is about to get, such storage; empty where a provisioner made its volume, or will.
func (l *lasting) has(ctx context.Context, c *kube.Client, pvc *corev1.PersistentVolumeClaim, p plan.Progress) (string, error) {
	if ptr.Deref(pvc.Spec.StorageClassName, " ") == "" && pvc.Spec.VolumeName == "" { // it takes what people make, maybe after it
		var err error
		if pvc, err = bound(ctx, c, pvc, p); err != nil {
			return "", err
		}
	}
	if pvc.Spec.VolumeName != "" {
		return l.isIn(ctx, c, pvc)
	}
	list, err := c.Typed().CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list the volumes: %w", err)
	}
	made := slices.DeleteFunc(list.Items, func(pv corev1.PersistentVolume) bool { return pv.Annotations[provisionedBy] != "" })
	if why := l.gets(pvc, made); why != "" || l.fresh {
		return why, nil
	}
	if pvc.Spec.StorageClassName == nil {
		return "", nil
	}
	class, err := c.Typed().StorageV1().StorageClasses().Get(ctx, *pvc.Spec.StorageClassName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("class of claim %s/%s: %w", pvc.Namespace, pvc.Name, err)
	case class.Provisioner == noProvisioner:
		return fmt.Sprintf("no provisioner makes volumes of its class %s", class.Name), nil
	}
	return "", nil
}

// isIn says why the volume that a claim names is such storage.
func (l *lasting) isIn(ctx context.Context, c *kube.Client, pvc *corev1.PersistentVolumeClaim) (string, error) {
	name := pvc.Spec.VolumeName
	pv, err := c.Typed().CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return l.gets(pvc, nil), nil // that of a provisioner is there before the claim names it
	case err != nil:
		return "", fmt.Errorf("volume of claim %s/%s: %w", pvc.Namespace, pvc.Name, err)
	}
	declared := slices.ContainsFunc(l.volumes, func(of corev1.PersistentVolume) bool { return of.Name == name })
	if !declared && pv.Annotations[provisionedBy] != "" || l.isFresh(pv) {
		return "", nil
	}
	return fmt.Sprintf("no provisioner made its PersistentVolume %s", name), nil
}

// bound waits until a claim has its volume, which needs no pod.
func bound(ctx context.Context, c *kube.Client, pvc *corev1.PersistentVolumeClaim, p plan.Progress) (*corev1.PersistentVolumeClaim, error) {
	limited, cancel := context.WithTimeout(ctx, appearTimeout)
	defer cancel()
	err := wait.Poll(limited, wait.Func("a PersistentVolume for it", func(ctx context.Context) (bool, string, error) {
		is, err := c.Typed().CoreV1().PersistentVolumeClaims(pvc.Namespace).Get(ctx, pvc.Name, metav1.GetOptions{})
		if err != nil || is.UID != pvc.UID {
			return apierrors.IsNotFound(err) || err == nil, fmt.Sprint(err), nil // who fills it finds that it was made anew
		}
		pvc = is
		return is.Spec.VolumeName != "", "its storage class is empty, and there is no volume that it can take", nil
	}), pullLook, p)
	return pvc, err
}

// stays says whether the documents want what a claim has left alone.
func stays(annotations map[string]string) bool { return annotations[marks.Snapshot] == "skip" }

// spares refuses to fill a claim on storage that outlives the cluster. Force alone lets a rebuild do it: what a drill or the target
// of a migration would write over may be in use by the cluster that they stand for.
func (r *Rebuild) spares(at gate.Claim, why string) error {
	switch {
	case r.drills:
		return overwrites(at, why).WithHint("the cluster in use may have it mounted: %s, and the drill leaves it as it is; give the application that mounts it to --hold, or it writes there", leaves)
	case r.o.Standby != nil:
		return inUse(at, why)
	case r.o.Force:
		return nil
	}
	return overwrites(at, why).WithHint("if it has what is to stay, %s, and it is left as it is; to overwrite it: rekindle rebuild --at %s --force", leaves, r.set.ID)
}

// leaves is how a claim on such storage is left as it is.
const leaves = "annotate the claim in the repository with " + marks.Snapshot + ": skip"

func overwrites(at gate.Claim, why string) *fault.Error {
	return fault.New(fault.Refused, "is on storage that outlives the cluster, whose data would be overwritten: %s", why).On("claim %s", at)
}

// inUse refuses such a claim of the target of a migration.
func inUse(at gate.Claim, why string) error {
	return overwrites(at, why).WithHint("the source may write to it: let a storage class make the volume of the target; or annotate the claim of the source with %s: skip, and it stays behind", marks.Snapshot)
}

// outlive refuses claims that move to such storage, as far as the documents of the target tell.
func (h *Handover) outlive(moving []volumes.Volume) error {
	if h.receiver.Simulated() {
		return nil
	}
	l, err := ofTarget(h.receiver)
	if err != nil {
		return err
	}
	wants, templates, err := wantedClaims(h.receiver.Volumes())
	if err != nil {
		return err
	}
	var errs []error
	for i := range moving {
		at := gate.Claim{Namespace: moving[i].Namespace, Name: moving[i].Name}
		want, known := wantedAt(at, wants, templates)
		if !known || !moving[i].Taken() {
			continue
		}
		if why := l.of(want); why != "" {
			errs = append(errs, inUse(at, why))
		}
	}
	return fault.Join(errs...)
}

// restored is the set without the claims that the documents want left as they are.
func (r *Rebuild) restored() *state.Manifest {
	set := *r.set
	set.Claims = slices.DeleteFunc(slices.Clone(set.Claims), func(of state.Claim) bool {
		at := gate.Claim{Namespace: of.Namespace, Name: of.Name}
		return r.left[at] || slices.ContainsFunc(r.claims, func(c *claim) bool { return c.left && c.at == at })
	})
	return &set
}

// isOurs says whether a run of ours has filled a claim before, or has begun to.
func isOurs(pvc *corev1.PersistentVolumeClaim) bool {
	return pvc.Annotations[marks.Restoring] != "" || pvc.Annotations[marks.Restored] != ""
}

// mayFill refuses a claim that is on such storage, as it turns out when it is there. It is left as it is when it says so itself.
func (r *Rebuild) mayFill(ctx context.Context, c *claim, pvc *corev1.PersistentVolumeClaim, p plan.Progress) (leave bool, err error) {
	if isOurs(pvc) || r.job.Simulated() {
		return false, nil
	}
	why, err := r.lasting.has(ctx, r.job.Client(), pvc, p)
	if err != nil || why == "" {
		return false, err
	}
	if r.o.Standby == nil && stays(pvc.Annotations) {
		return true, nil
	}
	return false, r.spares(c.at, why)
}
