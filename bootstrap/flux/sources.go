package flux

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// sources are the GitRepositories of our repository at our ref: rekindle's own, and those that the repository brings for the same, as
// flux bootstrap has them committed.
type sources map[kube.Ref]bool

// sources looks which there are now.
func (f *Flux) sources(ctx context.Context, c *kube.Client) (sources, error) {
	found := sources{f.repositoryRef(): true}
	own, err := c.Get(ctx, f.repositoryRef())
	if err != nil || own == nil {
		return found, err
	}
	resource := schema.GroupVersionResource{Group: sourceGroup, Version: version, Resource: "gitrepositories"}
	list, err := c.Dynamic().Resource(resource).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		if gitrepo.OriginOf(list.Items[i].Object) == gitrepo.OriginOf(own.Object) {
			found[kube.RefOf(&list.Items[i])] = true
		}
	}
	return found, nil
}

// have says whether a Kustomization is made from one of them.
func (s sources) have(obj *unstructured.Unstructured) bool { return s[sourceOf(obj)] }

// sourceOf is the GitRepository that a Kustomization is made from; the zero one of a source of another kind.
func sourceOf(obj *unstructured.Unstructured) kube.Ref {
	text := func(field string) string {
		value, _, _ := unstructured.NestedString(obj.Object, "spec", "sourceRef", field)
		return value
	}
	namespace := text("namespace")
	if namespace == "" {
		namespace = obj.GetNamespace()
	}
	if text("kind") != kindRepository {
		return kube.Ref{}
	}
	return kube.Ref{Group: sourceGroup, Version: version, Kind: kindRepository, Namespace: namespace, Name: text("name")}
}
