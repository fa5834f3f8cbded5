package volumes

import (
	"cmp"
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// Keep reads the live objects that are selected, each once, without what the API server adds to them.
func Keep(ctx context.Context, c *kube.Client, objects []config.StateObject) ([]map[string]any, error) {
	var kept []map[string]any
	seen := map[string]bool{}
	for _, o := range objects {
		resource, err := resourceOf(c, schema.FromAPIVersionAndKind(o.APIVersion, o.Kind), o.Namespace)
		if err != nil {
			return nil, err
		}
		list, err := resource.List(ctx, metav1.ListOptions{LabelSelector: o.Selector})
		if err != nil {
			return nil, fault.Wrap(err, fault.Failed, "read the kept objects").On("%s %s", o.APIVersion, o.Kind)
		}
		for i := range list.Items {
			obj := &list.Items[i]
			if seen[string(obj.GetUID())] || !keepable(obj) {
				continue
			}
			seen[string(obj.GetUID())] = true
			kept = append(kept, cleaned(obj))
		}
	}
	return kept, nil
}

// resourceOf is how to reach objects of a kind.
func resourceOf(c *kube.Client, gvk schema.GroupVersionKind, namespace string) (dynamic.ResourceInterface, error) {
	mapping, err := c.Mapper().RESTMapping(gvk.GroupKind(), gvk.Version)
	switch {
	case meta.IsNoMatchError(err):
		return nil, fault.New(fault.Failed, "the cluster does not serve this kind").On("%s %s", gvk.GroupVersion(), gvk.Kind).
			WithHint("see spec.state.objects, and whether the chart that brings the kind is installed")
	case err != nil:
		return nil, err
	}
	resource := c.Dynamic().Resource(mapping.Resource)
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace || namespace == "" {
		return resource, nil
	}
	return resource.Namespace(namespace), nil
}

// Unselected gives those kept objects that Keep would not have kept with these selections. Whoever has the repository's
// password can write any object into a set: what nobody selected is not to be put back.
func Unselected(objects []map[string]any, by []config.StateObject) ([]kube.Ref, error) {
	objs, err := kube.FromJSON(objects)
	if err != nil {
		return nil, err
	}
	var others []kube.Ref
	for _, obj := range objs {
		selected, err := selects(by, obj)
		if err != nil {
			return nil, err
		}
		if !selected || !keepable(obj) {
			others = append(others, kube.RefOf(obj))
		}
	}
	return others, nil
}

// selects says whether one of the selections means the object. Its version may be another one: the document may have
// followed a newer API since.
func selects(by []config.StateObject, obj *unstructured.Unstructured) (bool, error) {
	for _, o := range by {
		selector, err := labels.Parse(o.Selector)
		if err != nil {
			return false, fault.Wrap(err, fault.Usage, "%q is not a valid label selector", o.Selector).On("%s %s", o.APIVersion, o.Kind).WithHint("see spec.state.objects")
		}
		kind := schema.FromAPIVersionAndKind(o.APIVersion, o.Kind).GroupKind()
		in := o.Namespace == "" || obj.GetNamespace() == "" || obj.GetNamespace() == o.Namespace // as Keep: an object of the cluster is in none
		if obj.GroupVersionKind().GroupKind() == kind && in && selector.Matches(labels.Set(obj.GetLabels())) {
			return true, nil
		}
	}
	return false, nil
}

// keepable leaves out what means something in its own cluster only, and what is going away.
func keepable(obj *unstructured.Unstructured) bool {
	kind, _, _ := unstructured.NestedString(obj.Object, "type")
	return obj.GetDeletionTimestamp() == nil && !(obj.GetKind() == "Secret" && kind == "kubernetes.io/service-account-token")
}

// cleaned is what a person would write of an object. Owners are left out: in another cluster they have other UIDs, and
// its garbage collector would take the object for an orphan.
func cleaned(obj *unstructured.Unstructured) map[string]any {
	o := obj.DeepCopy()
	delete(o.Object, "status")
	for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "ownerReferences", "finalizers"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	return o.Object
}

// PutBack creates those objects that the cluster does not have, and says how many. What is there stays as it is. Their
// namespaces exist.
func PutBack(ctx context.Context, c *kube.Client, objects []map[string]any) (n int, err error) {
	objs, err := kube.FromJSON(objects)
	if err != nil {
		return 0, err
	}
	slices.SortStableFunc(objs, func(a, b *unstructured.Unstructured) int { // what holds others comes first
		return cmp.Compare(min(len(a.GetNamespace()), 1), min(len(b.GetNamespace()), 1))
	})
	var errs []error
	for _, obj := range objs {
		resource, err := resourceOf(c, obj.GroupVersionKind(), obj.GetNamespace())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		_, err = resource.Create(ctx, obj, metav1.CreateOptions{FieldManager: kube.Manager})
		switch {
		case err == nil:
			n++
		case obj.GetKind() == "Secret" && apierrors.IsInvalid(err): // the server quotes values
			errs = append(errs, fault.New(fault.Failed, "the API server rejects it as invalid").On("%s", kube.RefOf(obj)))
		case !apierrors.IsAlreadyExists(err):
			errs = append(errs, fault.Wrap(err, fault.Failed, "restore it").On("%s", kube.RefOf(obj)))
		}
	}
	return n, fault.Join(errs...)
}
