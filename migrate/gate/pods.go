package gate

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// prove waits until the server follows the newest change: it holds back the pod of the newest probe, or, when the gate
// is to be away, nothing any more.
func (g *Gate) prove(ctx context.Context, holds bool, p plan.Progress) error {
	what := "the gate holds"
	if !holds {
		what = "the gate is away"
	}
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	condition := wait.Func(what, func(ctx context.Context) (bool, string, error) {
		held, detail := g.holds(ctx)
		return detail == "" && held == holds, detail, nil
	})
	if err := wait.Poll(ctx, condition, proofLook, p); err != nil {
		return fault.Wrap(err, fault.Failed, "the API server does not follow its admission policies").On("gate").Transient()
	}
	return nil
}

// holds asks the server by a dry run whether a pod that mounts the probe is held back. The detail says why that can
// not be known.
func (g *Gate) holds(ctx context.Context) (held bool, detail string) {
	probe := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: Name + "-probe-", Namespace: proofNamespace},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "none", Image: "none.invalid/none"}},
			Volumes: []corev1.Volume{{Name: "probe", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: g.probe.Name},
			}}},
		},
	}
	made, err := g.client.Typed().CoreV1().Pods(proofNamespace).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	switch {
	case err == nil:
		return Held(made), ""
	case g.refuses && strings.Contains(err.Error(), refusal):
		return true, ""
	}
	return false, err.Error()
}

// release lets every held pod start of whose claims none waits.
func (g *Gate) release(ctx context.Context) error {
	pods, err := g.client.Typed().CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the pods that the gate holds back: %w", err)
	}
	var errs []error
	for i := range pods.Items {
		pod := &pods.Items[i]
		if !Held(pod) || g.waits(pod) {
			continue
		}
		patch := []byte(`{"spec":{"schedulingGates":[{"$patch":"delete","name":"` + PodGate + `"}]}}`)
		_, err := g.client.Typed().CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fault.Wrap(err, fault.Failed, "let it start").On("Pod %s/%s", pod.Namespace, pod.Name))
		}
	}
	return fault.Join(errs...)
}

// waits says whether some claim of a pod waits for its data.
func (g *Gate) waits(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.PersistentVolumeClaim != nil &&
			g.claims[Claim{pod.Namespace, v.PersistentVolumeClaim.ClaimName}]
	})
}

// Held says whether a pod is held back by the gate.
func Held(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.SchedulingGates, func(s corev1.PodSchedulingGate) bool { return s.Name == PodGate })
}

// poke has the controllers of a namespace try at once to make the pods that were refused: by themselves they wait
// longer after each refusal, up to a quarter of an hour.
func (g *Gate) poke(ctx context.Context, namespace string) error {
	refs, err := g.short(ctx, namespace)
	if err != nil {
		return fmt.Errorf("list the workloads that lack pods: %w", err)
	}
	var errs []error
	for _, ref := range refs {
		for _, mark := range []string{strconv.Quote(time.Now().UTC().Format(time.RFC3339Nano)), "null"} { // and away again
			errs = append(errs, g.client.MergePatch(ctx, ref, []byte(`{"metadata":{"annotations":{"`+pokeMark+`":`+mark+`}}}`)))
		}
	}
	return fault.Join(errs...)
}

// short lists the workloads of a namespace that have fewer pods than they want.
func (g *Gate) short(ctx context.Context, namespace string) ([]kube.Ref, error) {
	apps, batch := g.client.Typed().AppsV1(), g.client.Typed().BatchV1()
	sets, err := apps.StatefulSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	replicas, err := apps.ReplicaSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	jobs, err := batch.Jobs(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var refs []kube.Ref
	for _, s := range sets.Items {
		if s.Status.Replicas < ptr.Deref(s.Spec.Replicas, 1) {
			refs = append(refs, kube.NewRef(appsv1.SchemeGroupVersion.WithKind("StatefulSet"), namespace, s.Name))
		}
	}
	for _, r := range replicas.Items {
		if r.Status.Replicas < ptr.Deref(r.Spec.Replicas, 1) {
			refs = append(refs, kube.NewRef(appsv1.SchemeGroupVersion.WithKind("ReplicaSet"), namespace, r.Name))
		}
	}
	for _, j := range jobs.Items {
		if j.Status.Active == 0 && j.Status.CompletionTime == nil {
			refs = append(refs, kube.NewRef(batchv1.SchemeGroupVersion.WithKind("Job"), namespace, j.Name))
		}
	}
	return refs, nil
}
