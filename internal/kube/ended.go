package kube

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// GoesByItself says whether the cluster deletes an object once its work is done: a Job with a time to live.
func GoesByItself(obj *unstructured.Unstructured) bool {
	_, limited, _ := unstructured.NestedFieldNoCopy(obj.Object, "spec", "ttlSecondsAfterFinished")
	return limited && obj.GetKind() == "Job" && obj.GroupVersionKind().Group == "batch"
}

// DoneOrGone judges an object that goes by itself: when it is not there any more it is done.
func DoneOrGone(state *unstructured.Unstructured) Health {
	if state == nil {
		return Health{Ready: true}
	}
	return HealthOf(state)
}
