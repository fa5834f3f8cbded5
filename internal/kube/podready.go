package kube

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// ReadySince is when a pod became Ready, to the second and by the cluster's clock; zero when it is not.
func ReadySince(pod *corev1.Pod) time.Time {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}
