package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// podTimeout is how long a pod is waited for that is to mount a claim: what made the claim makes it a moment later, or it comes
// much later and cannot be waited for.
const podTimeout = 10 * time.Second

// mates keeps claims of one pod from being filled side by side while their volumes are not made: the first mover has all of them
// made where the pod may run, and those that follow go there. The zero value knows none.
type mates struct {
	mu    sync.Mutex
	turns map[string]*slots // by the claims of a pod
}

// together waits until no other claim of the same pod is being filled, if the volume of this one is not made yet. It gives the
// pod that will mount it: the one that is known, or the one that is held back by then; nil without any, and when it does not
// matter any more. The function lets the next claim be filled.
func (m *mates) together(ctx context.Context, c *kube.Client, pvc *corev1.PersistentVolumeClaim, known *corev1.PodSpec, p plan.Progress) (like *corev1.PodSpec, free func(), err error) {
	if pvc.Spec.VolumeName != "" {
		return nil, func() {}, nil
	}
	if known == nil {
		if known, err = podOf(ctx, c, pvc, p); err != nil || known == nil {
			return nil, func() {}, err
		}
	}
	free, err = m.turn(pvc.Namespace+"/"+strings.Join(slices.Sorted(slices.Values(volumes.ClaimsOf(known))), ",")).take(ctx, 0, p)
	if err != nil {
		return nil, nil, err
	}
	like, err = existing(ctx, c, pvc.Namespace, known)
	if err != nil {
		free()
		return nil, nil, err
	}
	return like, free, nil
}

func (m *mates) turn(of string) *slots {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.turns == nil {
		m.turns = map[string]*slots{}
	}
	if m.turns[of] == nil {
		m.turns[of] = newSlots(1)
	}
	return m.turns[of]
}

// podOf looks for a pod that mounts a claim; it gives nil when none comes soon.
func podOf(ctx context.Context, c *kube.Client, pvc *corev1.PersistentVolumeClaim, p plan.Progress) (*corev1.PodSpec, error) {
	soon, cancel := context.WithTimeout(ctx, podTimeout)
	defer cancel()
	var found *corev1.PodSpec
	err := wait.Poll(soon, wait.Func("the pod that will mount "+pvc.Name, func(ctx context.Context) (bool, string, error) {
		pods, err := c.Typed().CoreV1().Pods(pvc.Namespace).List(ctx, metav1.ListOptions{LabelSelector: volumes.NoMovers})
		if err != nil {
			return false, err.Error(), nil
		}
		for i := range pods.Items {
			if slices.Contains(volumes.ClaimsOf(&pods.Items[i].Spec), pvc.Name) {
				found = &pods.Items[i].Spec
			}
		}
		return found != nil, "", nil
	}), pullLook, p)
	if ctx.Err() == nil && errors.Is(soon.Err(), context.DeadlineExceeded) {
		return nil, nil
	}
	return found, err
}

// existing is a pod without those of its claims that are not made yet: with them a mover would wait for what may wait for it.
func existing(ctx context.Context, c *kube.Client, namespace string, pod *corev1.PodSpec) (*corev1.PodSpec, error) {
	there := pod.DeepCopy()
	there.Volumes = nil
	for _, v := range pod.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		_, err := c.Typed().CoreV1().PersistentVolumeClaims(namespace).Get(ctx, v.PersistentVolumeClaim.ClaimName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("claim %s/%s: %w", namespace, v.PersistentVolumeClaim.ClaimName, err)
		}
		there.Volumes = append(there.Volumes, v)
	}
	return there, nil
}
