package kube

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// routeTime is how long kube-proxy may take to bring a Service with new pods to a node's rules: it collects changes for a second,
// and Kubernetes tells times in whole ones.
const routeTime = 3 * time.Second

// AwaitRoutes waits until the nodes know where pods are that have been ready since then, by the cluster's clock: whoever asks a
// Service earlier meets nobody. to names the pods.
func (c *Client) AwaitRoutes(ctx context.Context, since time.Time, to string, p plan.Progress) error {
	pause := min(routeTime-c.clock.ageOrOwn(since), routeTime) // a clock that was set back makes nobody wait longer
	if pause <= 0 {
		return nil
	}
	p.Waiting("the nodes to learn where " + to)
	return wait.Sleep(ctx, pause)
}

// LastReady is when the last of the pods that are Ready became so, to the second and by the cluster's clock; zero when none is.
func LastReady(pods []corev1.Pod) (last time.Time) {
	for i := range pods {
		if c := readyCondition(&pods[i]); c != nil && c.LastTransitionTime.After(last) {
			last = c.LastTransitionTime.Time
		}
	}
	return last
}

// readyCondition is the condition of a pod that is Ready; nil when it is not.
func readyCondition(pod *corev1.Pod) *corev1.PodCondition {
	i := slices.IndexFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	if i < 0 {
		return nil
	}
	return &pod.Status.Conditions[i]
}
