package flux

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

const (
	helmGroup   = "helm.toolkit.fluxcd.io"
	kindRelease = "HelmRelease"
	kindChart   = "HelmChart"

	inGit       = "suspended in Git"
	noSimulated = "nothing runs it on simulated nodes"
)

// isFluxs says whether an object is of a kind of Flux.
func isFluxs(ref kube.Ref) bool { return strings.HasSuffix(ref.Group, ".toolkit.fluxcd.io") }

// isUnrun says whether nothing acts on a kind where nodes are simulated: of Flux's controllers only two run on the host, and no
// API is behind an APIService.
func isUnrun(ref kube.Ref) bool {
	return ref.Group == "apiregistration.k8s.io" || isFluxs(ref) && ref.Group != sourceGroup && ref.Group != kustomizeGroup
}

// Caveats name what syncing the path cannot prove.
func (f *Flux) Caveats(t reconciler.Target) []string {
	var list []string
	for _, obj := range t.Objects {
		if why := doubt(obj, t); why != "" {
			list = append(list, fmt.Sprintf("%s: %s", kube.RefOf(obj), why))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// doubt is why an object, as Git says it, is not proven; empty when it is.
func doubt(obj *unstructured.Unstructured, t reconciler.Target) string {
	switch ref := kube.RefOf(obj); {
	case !t.InPods && isUnrun(ref):
		return noSimulated
	case isFluxs(ref) && isSuspended(obj):
		return inGit
	}
	return ""
}

func isSuspended(obj *unstructured.Unstructured) bool {
	suspended, _, _ := unstructured.NestedBool(obj.Object, "spec", "suspend")
	return suspended
}

// suspendedInGit says whether it was Flux, applying what Git says, that suspended an object, and not somebody by hand.
func suspendedInGit(obj *unstructured.Unstructured) bool {
	return isSuspended(obj) && slices.ContainsFunc(obj.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool {
		var fields struct {
			Spec map[string]any `json:"f:spec"`
		}
		if e.Operation != metav1.ManagedFieldsOperationApply || e.FieldsV1 == nil || json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields) != nil {
			return false
		}
		_, owns := fields.Spec["f:suspend"]
		return owns
	})
}

// leftOut is why an applied object is not to be waited for, empty when it is. One that somebody suspended by hand is a fault: Git
// does not say so, and it will not become what Git says by waiting.
func (f *Flux) leftOut(ctx context.Context, c *kube.Client, ref kube.Ref, t reconciler.Target) (why string, err error) {
	if !t.InPods && isUnrun(ref) {
		return noSimulated, nil
	}
	if !isFluxs(ref) || ref == f.kustomizationRef() {
		return "", nil
	}
	obj, err := c.Get(ctx, ref)
	switch {
	case err != nil || obj == nil || !isSuspended(obj):
		return "", err
	case suspendedInGit(obj):
		return inGit, nil
	}
	return "", suspendedByHand(ref)
}

func suspendedByHand(ref kube.Ref) error {
	return fault.New(fault.Failed, "suspended by hand: changes of the repository are not applied").On("%s", ref).
		WithHint("kubectl -n %s patch %s.%s %s --type=merge -p '{\"spec\":{\"suspend\":false}}', or suspend it in Git",
			ref.Namespace, strings.ToLower(ref.Kind), ref.Group, ref.Name)
}
