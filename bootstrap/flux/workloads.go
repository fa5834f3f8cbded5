package flux

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// Flux's helm-controller puts these on everything that a HelmRelease has.
const (
	labelRelease          = helmGroup + "/name"
	labelReleaseNamespace = helmGroup + "/namespace"
)

// Workloads are among what Flux applied, through Kustomizations in Kustomizations, but for what cannot be proven.
func (f *Flux) Workloads(ctx context.Context, c *kube.Client, t reconciler.Target) (refs []kube.Ref, err error) {
	pr := f.proof(c, nil, t, nil)
	err = reconciler.Visit(ctx, c, f.kustomizationRef(), func(_ kube.Ref, by *unstructured.Unstructured) ([]kube.Ref, error) {
		if by == nil {
			return nil, nil // whoever leads there is judged by that
		}
		applied, err := pr.provable(ctx, inventory(by))
		if err != nil {
			return nil, err
		}
		inner, rest := f.apart(applied)
		refs = append(refs, rest...)
		inner, needs, err := pr.ordered(ctx, inner)
		return slices.DeleteFunc(inner, func(ref kube.Ref) bool { return pr.waitsForUnproven(ref, needs[ref]) }), err
	})
	if err != nil {
		return nil, err
	}
	released, err := releasedBy(ctx, c, refs)
	return append(refs, released...), err
}

// releasedBy are the workloads of the HelmReleases among some objects.
func releasedBy(ctx context.Context, c *kube.Client, objs []kube.Ref) ([]kube.Ref, error) {
	releases := map[string]bool{}
	for _, ref := range objs {
		if isRelease(ref) {
			releases[ref.Namespace+"/"+ref.Name] = true
		}
	}
	if len(releases) == 0 {
		return nil, nil
	}
	return c.Workloads(ctx, labelRelease, func(labels map[string]string) bool {
		return releases[labels[labelReleaseNamespace]+"/"+labels[labelRelease]]
	})
}
