package helm

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// owns says whether an object belongs to a release of this name, by Helm's marks: whoever has that release.
func (r Release) owns(obj *unstructured.Unstructured) bool {
	notes := obj.GetAnnotations()
	return notes["meta.helm.sh/release-name"] == r.Name && notes["meta.helm.sh/release-namespace"] == r.Namespace
}

// refuseElsewhere refuses a release without a record of which there are objects all the same: they are those of another one of that
// name and namespace, whose record is where Flux or another storage driver keeps it. Helm would take them over, and a removal
// would delete them. What asks to be kept may be left of one that was uninstalled, and what rekindle has written is its own.
func (r Release) refuseElsewhere(ctx context.Context, c *kube.Client) error {
	refs, err := r.served(c)
	if err != nil {
		return err
	}
	objs, err := c.Read(ctx, refs)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(objs, func(live *unstructured.Unstructured) bool {
		return live != nil && live.GetDeletionTimestamp() == nil && r.owns(live) && !keeps(live) && !kube.IsWritten(live)
	})
	if i < 0 {
		return nil
	}
	return fault.New(fault.Refused, "%s belongs to a release of that name that is recorded elsewhere: a HelmRelease of Flux or another storage driver", refs[i]).
		On("release %s/%s", r.Namespace, r.Name).
		WithHint("take it out of the stack, or remove the other one where it is recorded: kubectl get helmreleases -A; HELM_DRIVER=configmap helm list -A")
}

// served names what the release renders to, of the kinds that the server serves: of others there is nothing yet.
func (r Release) served(c *kube.Client) (refs []kube.Ref, err error) {
	kinds := map[schema.GroupKind]*meta.RESTMapping{}
	for _, obj := range r.Renders {
		ref := kube.RefOf(obj)
		kind, asked := kinds[ref.GroupKind()]
		if !asked {
			kind, err = c.Mapper().RESTMapping(ref.GroupKind(), ref.Version)
			if err != nil && !meta.IsNoMatchError(err) {
				return nil, fmt.Errorf("release %s: %w", r.Name, err)
			}
			kinds[ref.GroupKind()] = kind
		}
		switch {
		case kind == nil:
			continue
		case kind.Scope.Name() != meta.RESTScopeNameNamespace:
			ref.Namespace = ""
		case ref.Namespace == "":
			ref.Namespace = r.Namespace
		}
		refs = append(refs, ref)
	}
	return refs, nil
}
