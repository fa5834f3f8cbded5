package volumes

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
)

const (
	scheduleName = "rekindle-schedule" // of the Secrets, and the label of all that is made
	nameLabel    = "app.kubernetes.io/name"

	// scheduledMover is the value of a scheduled pod's label: the gate of a rebuild holds it back as any other pod with
	// a claim, so that no half-restored data is taken, and the run of a snapshot does not take it for one of its own.
	scheduledMover = "schedule"

	receiptPath = "/receipt"

	repositoryEnv = "RESTIC_REPOSITORY"
	sessionEnv    = "AWS_SESSION_TOKEN" // goes where lasting credentials come

	startLate     = 10 * 60 // seconds after its tick in which a Job may still begin
	scheduleTries = 2       // further tries of one that failed
	failedKept    = 3       // Jobs
)

// Schedule makes CronJobs that take snapshots of claims by themselves: one for each, in its namespace, of plain restic.
type Schedule struct {
	Client  *kube.Client
	Cluster string // whose sets they make
	Image   string // of restic; DefaultImage without
	Due     state.Cron
}

// Install makes the CronJobs of the volumes that are taken, with a Secret in each of their namespaces, and removes those
// that it made for others. Nothing that is as it should be is written.
func (s *Schedule) Install(ctx context.Context, all []Volume, a state.Access, p plan.Progress) (plan.Outcome, error) {
	if err := state.CheckAddress(a.URL); err != nil {
		return "", err.On("state repository")
	}
	jobs, err := s.objects(ctx, all)
	if err != nil {
		return "", err
	}
	var objs []*unstructured.Unstructured
	for i, job := range jobs {
		if i == 0 || jobs[i-1].GetNamespace() != job.GetNamespace() {
			objs = append(objs, scheduleSecret(job.GetNamespace(), a))
		}
	}
	if err := s.warnOfLost(ctx, a, p); err != nil {
		return "", err
	}
	changes, err := s.Client.Apply(ctx, append(objs, jobs...), kube.ApplyOptions{Manager: kube.Manager, Progress: p})
	if err != nil {
		return kube.Outcome(changes), err
	}
	over, err := scheduled(ctx, s.Client, append(objs, jobs...))
	if err != nil || len(over) == 0 {
		return kube.Outcome(changes), err
	}
	return plan.Changed, s.Client.Delete(ctx, over, p)
}

// warnOfLost tells which credentials the Jobs lose: those that an earlier up had in its environment, for the same repository, and this
// one has not. It may itself have a role that pods do not have.
func (s *Schedule) warnOfLost(ctx context.Context, a state.Access, p plan.Progress) error {
	secrets, err := s.Client.Typed().CoreV1().Secrets("").List(ctx, metav1.ListOptions{LabelSelector: ofSchedule})
	if err != nil {
		return fault.Wrap(err, fault.Failed, "list the Secrets of the schedule")
	}
	lost := map[string]bool{}
	for i := range secrets.Items {
		has := secrets.Items[i].Data
		for name := range has {
			_, stays := a.Env[name]
			if !stays && name != repositoryEnv && name != sessionEnv && string(has[repositoryEnv]) == a.URL {
				lost[name] = true
			}
		}
	}
	if len(lost) > 0 {
		p.Warn(fmt.Sprintf("scheduled snapshots had %s of an earlier up, which this one does not have in its environment: they go on without; if the pods need it, run up again with it",
			strings.Join(slices.Sorted(maps.Keys(lost)), ", ")))
	}
	return nil
}

// RemoveSchedule removes all CronJobs and Secrets of schedules.
func RemoveSchedule(ctx context.Context, c *kube.Client, p plan.Progress) (plan.Outcome, error) {
	refs, err := scheduled(ctx, c, nil)
	if err != nil || len(refs) == 0 {
		return plan.Unchanged, err
	}
	return plan.Changed, c.Delete(ctx, refs, p)
}

// FindSchedule finds what RemoveSchedule would remove.
func FindSchedule(ctx context.Context, c *kube.Client) ([]kube.Ref, error) {
	return scheduled(ctx, c, nil)
}

// scheduled finds what schedules made, CronJobs first, but for what is wanted.
func scheduled(ctx context.Context, c *kube.Client, wanted []*unstructured.Unstructured) ([]kube.Ref, error) {
	selector := metav1.ListOptions{LabelSelector: ofSchedule}
	jobs, err := c.Typed().BatchV1().CronJobs("").List(ctx, selector)
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "list the CronJobs of the schedule")
	}
	secrets, err := c.Typed().CoreV1().Secrets("").List(ctx, selector)
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "list the Secrets of the schedule")
	}
	var refs []kube.Ref
	for i := range jobs.Items {
		refs = append(refs, kube.NewRef(batchv1.SchemeGroupVersion.WithKind("CronJob"), jobs.Items[i].Namespace, jobs.Items[i].Name))
	}
	for i := range secrets.Items {
		refs = append(refs, kube.NewRef(corev1.SchemeGroupVersion.WithKind("Secret"), secrets.Items[i].Namespace, secrets.Items[i].Name))
	}
	return slices.DeleteFunc(refs, func(ref kube.Ref) bool {
		return slices.ContainsFunc(wanted, func(o *unstructured.Unstructured) bool { return kube.RefOf(o) == ref })
	}), nil
}

// ofSchedule selects what schedules made.
const ofSchedule = nameLabel + "=" + scheduleName + "," + marks.LabelOwner + "=" + marks.Owner

func scheduleLabels() map[string]string {
	return map[string]string{marks.LabelOwner: marks.Owner, nameLabel: scheduleName, marks.Mover: scheduledMover}
}

// objects are the CronJobs, by namespace and claim.
func (s *Schedule) objects(ctx context.Context, all []Volume) ([]*unstructured.Unstructured, error) {
	places, err := s.places(ctx)
	if err != nil {
		return nil, err
	}
	var objs []*unstructured.Unstructured
	for i := range all {
		v := &all[i]
		if !v.Taken() {
			continue
		}
		raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s.cronJob(v, places.of(v)))
		if err != nil {
			return nil, fmt.Errorf("describe the CronJob of %s: %w", v, err)
		}
		unstructured.RemoveNestedField(raw, "status")
		for _, path := range [][]string{{"metadata"}, {"spec", "jobTemplate", "metadata"}, {"spec", "jobTemplate", "spec", "template", "metadata"}} {
			unstructured.RemoveNestedField(raw, append(path, "creationTimestamp")...)
		}
		objs = append(objs, &unstructured.Unstructured{Object: raw})
	}
	return objs, nil
}

// cronJob takes a claim whenever the schedule is due.
func (s *Schedule) cronJob(v *Volume, affinity *corev1.Affinity) *batchv1.CronJob {
	image := s.Image
	if image == "" {
		image = DefaultImage
	}
	annotations := map[string]string{marks.SnapshotOf: v.String()}
	t := &task{verb: "backup", namespace: v.Namespace, claim: v.Name, args: state.ScheduledArgs(s.Cluster, v.String(), dataPath)}
	spec := withReceipt(podSpec(t, scheduleName, image), state.UnlockArgs(), state.ReceiptArgs(s.Cluster, v.String(), receiptPath))
	spec.Affinity = affinity
	return &batchv1.CronJob{
		TypeMeta:   metav1.TypeMeta{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "CronJob"},
		ObjectMeta: metav1.ObjectMeta{Name: cronJobName(v), Namespace: v.Namespace, Labels: scheduleLabels(), Annotations: annotations},
		Spec: batchv1.CronJobSpec{
			Schedule: s.Due.String(), TimeZone: ptr.To("Etc/UTC"), ConcurrencyPolicy: batchv1.ForbidConcurrent,
			StartingDeadlineSeconds: ptr.To[int64](startLate), Suspend: ptr.To(false),
			SuccessfulJobsHistoryLimit: ptr.To[int32](1), FailedJobsHistoryLimit: ptr.To[int32](failedKept),
			JobTemplate: batchv1.JobTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: scheduleLabels(), Annotations: annotations},
				Spec: batchv1.JobSpec{
					BackoffLimit: ptr.To[int32](scheduleTries), ActiveDeadlineSeconds: ptr.To[int64](moverLimit),
					Template: corev1.PodTemplateSpec{
						ObjectMeta: metav1.ObjectMeta{Labels: scheduleLabels(), Annotations: map[string]string{
							"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled",
						}},
						Spec: spec,
					},
				},
			},
		},
	}
}

// withReceipt has a pod of restic write a receipt after what it does, which it only comes to when that has succeeded:
// restic makes a snapshot also when it could not read a file. Before, it takes away the lock of a run that was killed.
func withReceipt(spec corev1.PodSpec, unlockArgs, args []string) corev1.PodSpec {
	cache := corev1.VolumeMount{Name: "cache", MountPath: cachePath}
	unlock := *spec.Containers[0].DeepCopy()
	unlock.Name, unlock.Args = "unlock", unlockArgs
	unlock.VolumeMounts = []corev1.VolumeMount{cache}
	receipt := *spec.Containers[0].DeepCopy()
	receipt.Name, receipt.Args = "receipt", args
	receipt.VolumeMounts = []corev1.VolumeMount{{Name: "receipt", MountPath: receiptPath, ReadOnly: true}, cache}
	spec.InitContainers, spec.Containers = []corev1.Container{unlock, spec.Containers[0]}, []corev1.Container{receipt}
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "receipt", VolumeSource: corev1.VolumeSource{
		DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
			{Path: "pod", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}},
		}},
	}})
	return spec
}

// cronJobName is one for each claim; Kubernetes allows 52 characters.
func cronJobName(v *Volume) string {
	sum := sha256.Sum256([]byte(v.String()))
	name := strings.ReplaceAll(v.Name, ".", "-")
	return "rekindle-" + strings.TrimRight(name[:min(len(name), 32)], "-") + "-" + hex.EncodeToString(sum[:4])
}

func scheduleSecret(namespace string, a state.Access) *unstructured.Unstructured {
	data := map[string]any{repositoryEnv: base64.StdEncoding.EncodeToString([]byte(a.URL))}
	for name, value := range a.Env {
		data[name] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	labels := map[string]any{}
	for name, value := range scheduleLabels() {
		labels[name] = value
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data,
		"metadata": map[string]any{"name": scheduleName, "namespace": namespace, "labels": labels},
	}}
}
