package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate/admission"
)

// prove waits until the server follows a change: it holds back a pod with that change's probe, or, when the gate is to be
// away, one with any probe no longer.
func (g *Gate) prove(ctx context.Context, probes []Claim, holds bool, p plan.Progress) error {
	return admission.Prove(ctx, "gate", holds, func(ctx context.Context) (bool, string) { return g.holds(ctx, probes) }, p)
}

// holds asks the server by a dry run whether a pod that mounts the probes is held back. The detail says why that can
// not be known.
func (g *Gate) holds(ctx context.Context, probes []Claim) (held bool, detail string) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: Name + "-probe-", Namespace: proofNamespace},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "none", Image: "none.invalid/none"}},
		},
	}
	for i, probe := range probes {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: fmt.Sprintf("probe-%d", i), VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: probe.Name},
		}})
	}
	made, err := g.client.Typed().CoreV1().Pods(proofNamespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
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
		patch := []byte(`{"spec":{"schedulingGates":[{"$patch":"delete","name":"` + marks.StateGate + `"}]}}`)
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
	return slices.ContainsFunc(pod.Spec.SchedulingGates, func(s corev1.PodSchedulingGate) bool { return s.Name == marks.StateGate })
}
