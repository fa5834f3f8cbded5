package volumes

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// tries is how often a mover is begun that something else ended: a node that went, an eviction, a kill.
const tries = 3

// Mover moves the data of claims between a cluster and a repository. Its methods may be called side by side.
type Mover struct {
	Client  *kube.Client
	Access  state.Access      // how pods reach the repository
	Image   string            // of restic; DefaultImage without
	Set     string            // id of the snapshot set that is made
	Cluster string            // whose set it is
	Changed bool              // restore only files whose size or time differs: of a claim that was verified before
	Parents map[string]string // namespace/name → snapshot of the set before: what did not change since is not read again

	Standing *Standing // movers of the same cluster and Access that stay for the next task; nil: each has its own
	Last     bool      // there is no next task

	turns turns // of pods with hooks
}

// Backup takes the data of volumes that belong together, side by side, between the hooks of their pods: those that have
// a Cut need to be quiet for the moment of it only. It gives those that were taken, with their snapshots, also when others
// were not.
func (m *Mover) Backup(ctx context.Context, volumes []Volume, p plan.Progress) ([]state.Claim, error) {
	claims, cuts := make([]state.Claim, len(volumes)), make([]*cut, len(volumes))
	pods := podsOf(volumes)
	free, err := m.turns.take(ctx, pods, p)
	if err != nil {
		return nil, err
	}
	err = quietly(ctx, m.Client, pods, p, func() error {
		return each(volumes, func(i int, v *Volume) (err error) {
			if v.Cut != "" {
				cuts[i], err = m.cut(ctx, v, p)
				return err
			}
			claims[i], err = m.backup(ctx, v, backupTask(v, m.Cluster, m.Set, m.Parents[v.String()]), p)
			return err
		})
	})
	free()
	err = fault.Join(err, each(volumes, func(i int, v *Volume) (err error) {
		if cuts[i] == nil {
			return nil
		}
		claims[i], err = m.backupCut(ctx, v, cuts[i], p)
		return fault.Join(err, m.dropCut(ctx, cuts[i], p))
	}))
	var taken []state.Claim
	for _, claim := range claims {
		if claim.Snapshot != "" {
			taken = append(taken, claim)
		}
	}
	return taken, err
}

// each does something for all volumes side by side, and gives all errors.
func each(volumes []Volume, do func(i int, v *Volume) error) error {
	errs := make([]error, len(volumes))
	var group errgroup.Group
	for i := range volumes {
		group.Go(func() error {
			errs[i] = do(i, &volumes[i])
			return nil
		})
	}
	_ = group.Wait() // all errors are told
	return fault.Join(errs...)
}

// backup has a mover take the data of a volume.
func (m *Mover) backup(ctx context.Context, v *Volume, t *task, p plan.Progress) (state.Claim, error) {
	said, err := m.run(ctx, t, p)
	if err != nil {
		return state.Claim{}, fault.Wrap(err, fault.KindOf(err), "take its data").On("claim %s", v)
	}
	if said.Snapshot == "" {
		return state.Claim{}, fault.New(fault.Failed, "restic ended without a snapshot").On("claim %s", v)
	}
	claim := v.Claim
	claim.Snapshot, claim.Files, claim.Bytes = said.Snapshot, said.FilesProcessed, said.BytesProcessed
	p.Note(fmt.Sprintf("%s: %s in %s", v, size(claim.Bytes), plan.Count(claim.Files, "file")))
	if text := outgrown(claim); text != "" {
		p.Warn(text)
	}
	return claim, nil
}

// outgrown tells that the data of a claim does not fit into the volume that it would get now; empty of one that fits. Volumes of
// some kinds have no bound, so that nobody notices before a rebuild.
func outgrown(claim state.Claim) string {
	asked, err := resource.ParseQuantity(claim.Size)
	if err != nil || claim.Bytes <= asked.Value() {
		return ""
	}
	return fmt.Sprintf("claim %s/%s has %s of files and requests only %s: a rebuild makes its volume as large as is requested, and unless the files are sparse, they do not fit; request more",
		claim.Namespace, claim.Name, size(claim.Bytes), claim.Size)
}

// Restore makes the claim namespace/name be what a snapshot holds, and reads it back. The claim exists; it is bound by
// being used, where the pod may run that will mount it: like, or nil when that is not known. All claims of that pod exist. A
// restore of less than the snapshot's is an error. It may be repeated, and finishes what was begun.
func (m *Mover) Restore(ctx context.Context, claim state.Claim, namespace, name string, like *corev1.PodSpec, p plan.Progress) error {
	pvc, err := m.Client.Typed().CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fault.Wrap(err, fault.Failed, "find it").On("claim %s/%s", namespace, name)
	}
	t := restoreTask(claim.Snapshot, namespace, name, pvc.UID, m.Changed)
	t.unbound, t.like = pvc.Spec.VolumeName == "", like
	said, err := m.run(ctx, t, p)
	if err != nil {
		return fault.Wrap(err, fault.KindOf(err), "restore it").On("claim %s/%s", namespace, name)
	}
	if text := short(said, claim); text != "" {
		return fault.New(fault.Failed, "the restore is incomplete: %s", text).On("claim %s/%s", namespace, name).
			WithHint("rekindle snapshot verify shows whether the repository is intact; run this again, or choose another set with --at")
	}
	p.Note(fmt.Sprintf("came back and read again: %s in %s", size(claim.Bytes), plan.Count(claim.Files, "file")))
	return nil
}

// short says what a restore lacks. restic counts folders and links among what it restores, but not in the number of
// files of a snapshot; and the bytes of a file with several names once there, and by its names here. What was in place
// already is counted beside the rest.
func short(said *message, claim state.Claim) string {
	files := said.TotalFiles + said.FilesSkipped
	switch {
	case said.FilesRestored+said.FilesSkipped == 0:
		return "nothing came back"
	case files <= claim.Files: // one more at least: the folder that holds all
		return fmt.Sprintf("%d of %s", files, plan.Count(claim.Files, "file"))
	case said.FilesRestored < said.TotalFiles:
		return fmt.Sprintf("%d of %s", said.FilesRestored, plan.Count(said.TotalFiles, "file"))
	case said.BytesRestored < said.TotalBytes, claim.Bytes > 0 && said.BytesRestored+said.BytesSkipped == 0:
		return fmt.Sprintf("%s of %s", size(said.BytesRestored+said.BytesSkipped), size(claim.Bytes))
	}
	return ""
}
