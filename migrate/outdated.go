package migrate

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/migrate/gate"
)

// renewHeld deletes the pods that are held back and are not what their StatefulSet wants any more, and waits for those that
// are made in their stead. A StatefulSet replaces a pod when it is ready, which one that is held back never is: it would
// start as somebody has long corrected it not to. No such pod has ever run.
func renewHeld(ctx context.Context, c *kube.Client, p plan.Progress) error {
	return wait.Poll(ctx, wait.Func("the pods that are held back to be as their StatefulSets declare them", func(ctx context.Context) (bool, string, error) {
		pods, err := c.Typed().CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, "", fmt.Errorf("list the pods that are held back: %w", err)
		}
		old := ""
		for i := range pods.Items {
			pod := &pods.Items[i]
			outdated, err := isOutdated(ctx, c, pod)
			if err != nil {
				return false, "", err
			}
			if !outdated {
				continue
			}
			old = pod.Namespace + "/" + pod.Name
			if pod.DeletionTimestamp != nil {
				continue
			}
			p.Note(old + " is recreated: its StatefulSet has changed while it was held back")
			err = c.Typed().CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return false, "", fmt.Errorf("delete the pod %s, which is held back and outdated: %w", old, err)
			}
		}
		return old == "", old, nil
	}), pullLook, p)
}

// isOutdated says whether a pod is held back, and another one than its StatefulSet would make now.
func isOutdated(ctx context.Context, c *kube.Client, pod *corev1.Pod) (bool, error) {
	owner := metav1.GetControllerOf(pod)
	if !gate.Held(pod) || owner == nil || owner.Kind != "StatefulSet" {
		return false, nil
	}
	set, err := c.Typed().AppsV1().StatefulSets(pod.Namespace).Get(ctx, owner.Name, metav1.GetOptions{})
	if err != nil {
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return false, fmt.Errorf("StatefulSet %s/%s: %w", pod.Namespace, owner.Name, err)
	}
	rolling := set.Spec.UpdateStrategy.RollingUpdate
	someStay := rolling != nil && ptr.Deref(rolling.Partition, 0) > 0 // as they are, because somebody wants it so
	if someStay || set.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType || set.Status.ObservedGeneration < set.Generation {
		return false, nil
	}
	return pod.Labels[appsv1.StatefulSetRevisionLabel] != set.Status.UpdateRevision, nil
}
