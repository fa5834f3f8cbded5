package helm

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// withoutEnded leaves out Jobs that were made, have ended and are gone: one that is missing would be made again, and run again.
// It is the comparison that says which are missing: a look before it would not see one that goes in between.
func withoutEnded(objs []*unstructured.Unstructured, different []kube.Difference) ([]*unstructured.Unstructured, []kube.Difference) {
	gone := map[kube.Ref]bool{}
	for _, d := range different {
		gone[d.Ref] = d.Missing
	}
	ended := map[kube.Ref]bool{}
	var there []*unstructured.Unstructured
	for _, obj := range objs {
		if ref := kube.RefOf(obj); gone[ref] && kube.GoesByItself(obj) {
			ended[ref] = true
			continue
		}
		there = append(there, obj)
	}
	return there, slices.DeleteFunc(different, func(d kube.Difference) bool { return ended[d.Ref] })
}
