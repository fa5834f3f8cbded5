package kube

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// GoesByItself says whether the cluster deletes an object once its work is done: a Job with a time to live.
func GoesByItself(obj *unstructured.Unstructured) bool {
	_, limited, _ := unstructured.NestedFieldNoCopy(obj.Object, "spec", "ttlSecondsAfterFinished")
	return limited && obj.GetKind() == "Job" && obj.GroupVersionKind().Group == "batch"
}

// WithoutEnded leaves out Jobs that were made, have ended and are gone: one that is missing would be made again, and run again.
// That it has ended well is for the caller to know.
// It is the comparison that says which are missing: a look before it would not see one that goes in between.
func WithoutEnded(objs []*unstructured.Unstructured, different []Difference) ([]*unstructured.Unstructured, []Difference) {
	gone := map[Ref]bool{}
	for _, d := range different {
		gone[d.Ref] = d.Missing
	}
	ended := map[Ref]bool{}
	var there []*unstructured.Unstructured
	for _, obj := range objs {
		if ref := RefOf(obj); gone[ref] && GoesByItself(obj) {
			ended[ref] = true
			continue
		}
		there = append(there, obj)
	}
	return there, slices.DeleteFunc(different, func(d Difference) bool { return ended[d.Ref] })
}

// DoneOrGone judges an object that goes by itself: when it is not there any more it is done.
func DoneOrGone(state *unstructured.Unstructured) Health {
	if state == nil {
		return Health{Ready: true}
	}
	return EndOf(state)
}

// DoneIfSeen judges an object that goes by itself where nobody has seen yet that it is done: one that is not there any more may
// have failed.
func DoneIfSeen(state *unstructured.Unstructured) Health {
	if state == nil {
		return Health{Failed: true, Message: "is gone, and how it ended was not seen"}
	}
	return EndOf(state)
}

// EndOf is [HealthOf] for those who want something to come to its end: a Job that has ended has done so also while it is being
// deleted, which takes as long as the garbage collector needs.
func EndOf(obj *unstructured.Unstructured) Health {
	if h, ended := jobEnd(obj); ended {
		return h
	}
	return HealthOf(obj)
}

// lastWords is how a Job was that had ended before it was deleted, nil of anything else: those who only wait for its end may
// have seen nothing between its work and its deletion. To all others it is one that is being deleted.
func lastWords(obj *unstructured.Unstructured) *unstructured.Unstructured {
	if _, ended := jobEnd(obj); !ended {
		return nil
	}
	last := obj.DeepCopy()
	if now := metav1.Now(); last.GetDeletionTimestamp() == nil { // one that was deleted at once never had it
		last.SetDeletionTimestamp(&now)
	}
	return last
}

// jobEnd is how a Job has ended; of one that has not, and of all other objects, ended is false.
func jobEnd(obj *unstructured.Unstructured) (h Health, ended bool) {
	if gk := obj.GroupVersionKind().GroupKind(); gk.Group != groupBatch || gk.Kind != kindJob {
		return Health{}, false
	}
	if c := condition(obj, "Failed"); c["status"] == "True" {
		return Health{Failed: true, Message: conditionText(c)}, true
	}
	if c := condition(obj, "Complete"); c["status"] == "True" {
		return Health{Ready: true, Message: "complete"}, true
	}
	return Health{}, false
}
