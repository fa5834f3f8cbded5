package volumes

import (
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// DefaultImage is what movers run where the documents do not say.
const DefaultImage = "ghcr.io/restic/restic:0.18.1"

const (
	container = "restic"
	dataPath  = "/data"  // where the claim is
	cachePath = "/cache" // what restic remembers of the repository, and its temporary files

	moverLimit = 24 * 60 * 60 // seconds that a mover may live, also when nobody looks after it any more
	moverKept  = 10 * 60      // seconds until one that has ended is removed, when its run was killed
)

// The memory of a mover is bounded: restic takes 150 MiB for a million blobs, and the Go runtime keeps below the limit.
const (
	memoryWanted = "256Mi"
	memoryLimit  = "1Gi"
	memoryTarget = "850MiB"
	cpuWanted    = "100m"
)

// task is what a mover is to do.
type task struct {
	verb      string // backup or restore
	namespace string
	claim     string
	uid       types.UID       // of the claim
	node      string          // where the claim is mounted; empty lets the scheduler choose
	near      string          // where it had better be, if there is room; of one without a node
	unbound   bool            // the mover decides where its volume is made
	like      *corev1.PodSpec // of the pod that will mount it, where that is known; it counts when unbound
	args      []string
	write     bool
	stands    bool // it waits to be told, by Mover.tell
	alone     bool // its mover is its own: what it reads goes when it has ended
}

func (t *task) labels() map[string]string {
	return map[string]string{
		marks.LabelOwner: marks.Owner, marks.Mover: "true", marks.Claim: string(t.uid), nameLabel: moverName(t.verb),
	}
}

const verbRestore = "restore"

func moverName(verb string) string { return "rekindle-" + verb }

// job is the mover of a task. It begins suspended, so that its Secret can belong to it before its pod needs it.
func job(t *task, name, image string) *batchv1.Job {
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: t.namespace, Labels: t.labels()},
		Spec: batchv1.JobSpec{
			Suspend: ptr.To(true), BackoffLimit: ptr.To[int32](0), Completions: ptr.To[int32](1), Parallelism: ptr.To[int32](1),
			ActiveDeadlineSeconds: ptr.To[int64](moverLimit), TTLSecondsAfterFinished: ptr.To[int32](moverKept),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: t.labels(), Annotations: map[string]string{
					"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled",
				}},
				Spec: podSpec(t, name, image),
			},
		},
	}
	if t.stands {
		standBy(j)
	}
	return j
}

func podSpec(t *task, secret, image string) corev1.PodSpec {
	spec := corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: ptr.To(false), EnableServiceLinks: ptr.To(false),
		TerminationGracePeriodSeconds: ptr.To[int64](30), // for restic to remove its lock
		Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		SecurityContext: &corev1.PodSecurityContext{
			RunAsUser: ptr.To[int64](0), RunAsGroup: ptr.To[int64](0), // files of every owner; no fsGroup, which would change them
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: container, Image: image, Args: t.args, SecurityContext: securityContext(t.write),
			ImagePullPolicy: corev1.PullIfNotPresent,
			EnvFrom:         []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}}},
			Env: []corev1.EnvVar{
				{Name: "RESTIC_CACHE_DIR", Value: cachePath}, {Name: "TMPDIR", Value: cachePath}, {Name: "HOME", Value: cachePath},
				{Name: "RESTIC_PROGRESS_FPS", Value: "2"}, {Name: "GOMEMLIMIT", Value: memoryTarget},
			},
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(memoryWanted), corev1.ResourceCPU: resource.MustParse(cpuWanted)},
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(memoryLimit)},
			},
			VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: dataPath, ReadOnly: !t.write}, {Name: "cache", MountPath: cachePath}},
		}},
		Volumes: []corev1.Volume{
			{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: t.claim}}},
			{Name: "cache", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		},
	}
	switch {
	case t.node != "":
		spec.Affinity = onNode(t.node)
	case t.near != "":
		spec.Affinity = nearNode(t.near)
	case t.unbound:
		spec.Tolerations = nil // a volume that is made on a node where nobody else runs would keep its pod from starting
		if t.like != nil {
			PlaceLike(&spec, t.like)
			spec.Volumes = append(spec.Volumes, matesOf(t.like, t.claim)...)
		}
	}
	return spec
}

// PlaceLike lets a pod run where another one may, as far as nodes decide.
func PlaceLike(spec, other *corev1.PodSpec) {
	spec.NodeSelector, spec.Tolerations = other.NodeSelector, other.Tolerations
	if a := other.Affinity; a != nil && a.NodeAffinity != nil {
		spec.Affinity = &corev1.Affinity{NodeAffinity: a.NodeAffinity}
	}
}

// ClaimsOf names the claims that a pod mounts.
func ClaimsOf(spec *corev1.PodSpec) []string {
	var names []string
	for _, v := range spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			names = append(names, v.PersistentVolumeClaim.ClaimName)
		}
	}
	return names
}

// matesOf are the other claims of a pod, as volumes that no container mounts: the scheduler takes a node that all of them can be
// on, and has those made there too that are not yet.
func matesOf(spec *corev1.PodSpec, claim string) []corev1.Volume {
	var mates []corev1.Volume
	for i, name := range ClaimsOf(spec) {
		if name != claim {
			mates = append(mates, corev1.Volume{Name: fmt.Sprintf("mate-%d", i), VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
			}})
		}
	}
	return mates
}

// onNode wants one node, by way of the scheduler, which knows whether there is room for a pod.
func onNode(name string) *corev1.Affinity {
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{isNode(name)},
	}}}
}

// nearNode prefers one node to all others.
func nearNode(name string) *corev1.Affinity {
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{
		{Weight: 100, Preference: isNode(name)},
	}}}
}

func isNode(name string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{
		{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{name}},
	}}
}

// securityContext lets root read files of every owner; and, for a restore, make them. All of these capabilities pass
// the Pod Security standard "baseline". DAC_READ_SEARCH would not, and it opens files by their handle, also outside of
// the volume; where the volume is mounted read-only DAC_OVERRIDE can do no more than read.
func securityContext(write bool) *corev1.SecurityContext {
	can := []corev1.Capability{"DAC_OVERRIDE"}
	if write {
		// FSETID keeps the setgid bit of files of other groups.
		can = append(can, "CHOWN", "FOWNER", "FSETID", "MKNOD", "SETFCAP")
	}
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: can},
	}
}

// secret holds how a mover reaches the repository. It goes when the Job goes.
func secret(owner *batchv1.Job, a state.Access) *corev1.Secret {
	data := map[string]string{"RESTIC_REPOSITORY": a.URL}
	for name, value := range a.Env {
		data[name] = value
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: owner.Name, Namespace: owner.Namespace, Labels: owner.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		StringData: data, Immutable: ptr.To(true),
	}
}

// backupTask reads a volume where it is mounted.
func backupTask(v *Volume, cluster, set, parent string) *task {
	return &task{
		verb: "backup", namespace: v.Namespace, claim: v.Name, uid: v.uid, node: v.Node,
		args: state.BackupArgs(cluster, set, v.String(), dataPath, parent),
	}
}

// restoreTask makes a claim be what a snapshot holds: what is there besides goes, and so a restore that was cut off is
// finished by the next. It includes the folder that the volume is mounted at, whose owner and mode count too. Every file
// that is there is read and compared, unless only changed ones count: then those are left alone that have the size and
// the time of the snapshot's.
func restoreTask(snapshot, namespace, name string, uid types.UID, changed bool) *task {
	args := "restore " + snapshot + " --json --no-lock --target / --include " + dataPath + " --delete --sparse --verify"
	if changed {
		args += " --overwrite if-changed"
	}
	return &task{
		verb: verbRestore, namespace: namespace, claim: name, uid: uid, write: true,
		args: strings.Fields(args),
	}
}
