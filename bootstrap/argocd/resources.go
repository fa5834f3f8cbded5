package argocd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// isRemote says whether an Application applies what it has in another cluster.
func isRemote(obj *unstructured.Unstructured) bool {
	if server, _, _ := unstructured.NestedString(obj.Object, "spec", "destination", "server"); server != "" {
		return strings.TrimRight(server, "/") != inCluster
	}
	name, _, _ := unstructured.NestedString(obj.Object, "spec", "destination", "name")
	return name != "" && name != inClusterName
}

// resources gives the objects that an Application has applied, without hooks and what it is about to prune. Those that
// are Applications are given apart. Of what it applied in another cluster Argo CD alone knows.
func resources(obj *unstructured.Unstructured) (plain, applications []kube.Ref) {
	if isRemote(obj) {
		return nil, nil
	}
	for _, fields := range entries(obj, "status", "resources") {
		ref := refOf(fields)
		switch {
		case fields["hook"] == true || fields["requiresPruning"] == true:
		case isApplication(ref):
			applications = append(applications, ref)
		default:
			plain = append(plain, ref)
		}
	}
	return plain, applications
}

func isApplication(ref kube.Ref) bool { return ref.Group == group && ref.Kind == kindApplication }

// applicationResource is where Applications are.
func applicationResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: "applications"}
}

// made are the Applications that the ApplicationSets among some objects have made by now.
func made(ctx context.Context, c *kube.Client, objs []kube.Ref) ([]kube.Ref, error) {
	var refs []kube.Ref
	for _, set := range setsOf(objs) {
		list, err := c.Dynamic().Resource(applicationResource()).Namespace(set.Namespace).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fault.Wrap(err, fault.Failed, "list the Applications that it made").On("%s", set)
		}
		for i := range list.Items {
			if obj := &list.Items[i]; setOf(obj) == set.Name {
				refs = append(refs, kube.RefOf(obj))
			}
		}
	}
	return refs, nil
}

// setsOf are the ApplicationSets among some objects.
func setsOf(objs []kube.Ref) []kube.Ref {
	var sets []kube.Ref
	for _, ref := range objs {
		if ref.Group == group && ref.Kind == kindSet {
			sets = append(sets, ref)
		}
	}
	return sets
}

// setOf names the ApplicationSet that made an Application, empty when none did.
func setOf(obj *unstructured.Unstructured) string {
	for _, owner := range obj.GetOwnerReferences() {
		if owner.Kind == kindSet && strings.HasPrefix(owner.APIVersion, group+"/") {
			return owner.Name
		}
	}
	return ""
}

// isRolled says whether an Application that does not sync by itself is synced by its ApplicationSet, step by step (RollingSync).
func isRolled(ctx context.Context, c *kube.Client, ref kube.Ref) (bool, error) {
	obj, err := c.Get(ctx, ref)
	if err != nil || obj == nil || setOf(obj) == "" {
		return false, err
	}
	set, err := c.Get(ctx, kube.Ref{Group: group, Version: version, Kind: kindSet, Namespace: ref.Namespace, Name: setOf(obj)})
	if err != nil || set == nil {
		return false, err
	}
	return slices.ContainsFunc(entries(set, "status", "applicationStatus"), func(fields map[string]any) bool {
		return fields["application"] == ref.Name
	}), nil
}

// visit calls do for the Application and for those that it leads to, by its objects and by ApplicationSets among them, each
// once, as they are then. One that does not exist is nil. One that in Git does not sync by itself is left out, with what it leads to, and given to
// manual, which may be nil: the first heals what is changed by hand, so that it is as Git has it.
func (a *ArgoCD) visit(ctx context.Context, c *kube.Client, manual func(kube.Ref), do func(ref kube.Ref, obj *unstructured.Unstructured) error) error {
	return reconciler.Visit(ctx, c, a.applicationRef(), func(ref kube.Ref, obj *unstructured.Unstructured) ([]kube.Ref, error) {
		if obj != nil && ref != a.applicationRef() && (!isAutomated(obj) || isSkippedInGit(obj)) {
			rolled, err := isRolled(ctx, c, ref)
			if err != nil {
				return nil, err
			}
			if !rolled || isSkippedInGit(obj) {
				if manual != nil {
					manual(ref)
				}
				return nil, nil
			}
		}
		if err := do(ref, obj); err != nil || obj == nil {
			return nil, err
		}
		plain, inner := resources(obj)
		generated, err := made(ctx, c, plain)
		return append(inner, generated...), err
	})
}

// notAutomated is why an Application is not proven.
const notAutomated = "in Git it does not sync by itself"

// Caveats name the Applications of the path that do not sync by themselves.
func (a *ArgoCD) Caveats(t reconciler.Target) []string {
	var list []string
	for _, obj := range t.Objects {
		if ref := kube.RefOf(obj); ref.Group == group && ref.Kind == kindApplication && (!isAutomated(obj) || isSkipped(obj)) {
			list = append(list, fmt.Sprintf("%s: %s", ref, notAutomated))
		}
	}
	return list
}
