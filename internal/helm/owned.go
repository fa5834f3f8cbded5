package helm

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// readParallel bounds how many objects or records are read at a time.
const readParallel = 16

// owns says whether an object belongs to a release of this name, by Helm's marks: whoever has that release.
func (r Release) owns(obj *unstructured.Unstructured) bool {
	notes := obj.GetAnnotations()
	return notes["meta.helm.sh/release-name"] == r.Name && notes["meta.helm.sh/release-namespace"] == r.Namespace
}

// isWritten says whether rekindle has written an object, with Helm or without.
func isWritten(obj *unstructured.Unstructured) bool {
	return slices.ContainsFunc(obj.GetManagedFields(), func(w metav1.ManagedFieldsEntry) bool { return w.Manager == kube.Manager })
}

// refuseElsewhere refuses a release without a record of which there are objects all the same: they are those of another one of that
// name and namespace, whose record is where Flux or another storage driver keeps it. Helm would take them over, and a removal
// would delete them. What asks to be kept may be left of one that was uninstalled, and what rekindle has written is its own.
func (r Release) refuseElsewhere(ctx context.Context, c *kube.Client) error {
	refs, err := r.served(c)
	if err != nil {
		return err
	}
	theirs := make([]bool, len(refs))
	var g errgroup.Group
	g.SetLimit(readParallel)
	for i, ref := range refs {
		g.Go(func() error {
			live, err := c.Get(ctx, ref)
			if err != nil {
				return fmt.Errorf("read %s: %w", ref, err)
			}
			theirs[i] = live != nil && live.GetDeletionTimestamp() == nil && r.owns(live) && !keeps(live) && !isWritten(live)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	i := slices.Index(theirs, true)
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

// isCRD says whether an object defines a kind.
func isCRD(ref kube.Ref) bool {
	return ref.Group == "apiextensions.k8s.io" && ref.Kind == "CustomResourceDefinition"
}

// hasObjects says whether there are objects of a CRD, whoever made them. They are asked for in the version that they are stored in,
// where it is served: to convert them may need what was just removed.
func hasObjects(ctx context.Context, c *kube.Client, crd *unstructured.Unstructured) (bool, error) {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	served := ""
	for _, v := range versions {
		version, _ := v.(map[string]any)
		name, _ := version["name"].(string)
		if version["served"] == true && (served == "" || version["storage"] == true) {
			served = name
		}
	}
	if served == "" {
		return false, nil
	}
	kind := schema.GroupVersionResource{Group: group, Version: served, Resource: plural}
	list, err := c.Dynamic().Resource(kind).List(ctx, metav1.ListOptions{Limit: 1})
	if apierrors.IsNotFound(err) {
		return false, nil // not served any more
	}
	if err != nil {
		return false, fmt.Errorf("list the objects of CRD %s: %w", crd.GetName(), err)
	}
	return len(list.Items) > 0, nil
}
