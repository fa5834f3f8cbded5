// Package outward knows the applications that act on the world outside their cluster, so that only one cluster may run
// them.
package outward

import (
	"fmt"
	"slices"

	"github.com/rekindle-dev/rekindle/migrate/admission"
)

// labels by which an application is known, on its pods: Flux's own have the last two only.
func labels() []string {
	return []string{"app.kubernetes.io/name", "app.kubernetes.io/component", "app"}
}

// Apps are the applications that always act outside, and more: external-dns writes records, and
// image-automation-controller pushes commits.
func Apps(more ...string) []string {
	all := append([]string{"external-dns", "image-automation-controller"}, more...)
	slices.Sort(all)
	return slices.Compact(all)
}

// Has says whether the labels of a pod are those of one of the applications.
func Has(apps []string, of map[string]string) bool {
	return slices.ContainsFunc(labels(), func(label string) bool { return slices.Contains(apps, of[label]) })
}

// Expression is Has in CEL, of the labels of an object.
func Expression(object string, apps []string) string {
	return fmt.Sprintf(`%s.exists(l, %s.?metadata.?labels[?l].orValue('') in %s)`, admission.List(labels()), object, admission.List(apps))
}
