package argocd

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// resources gives the objects that an Application has applied, without hooks and what it is about to prune. Those that
// are Applications are given apart.
func resources(obj *unstructured.Unstructured) (plain, applications []kube.Ref) {
	entries, _, _ := unstructured.NestedSlice(obj.Object, "status", "resources")
	for _, entry := range entries {
		fields, _ := entry.(map[string]any)
		if fields["hook"] == true || fields["requiresPruning"] == true {
			continue
		}
		ref := refOf(fields)
		if ref.Group == group && ref.Kind == kindApplication {
			applications = append(applications, ref)
			continue
		}
		plain = append(plain, ref)
	}
	return plain, applications
}

// visit calls do for the Application and for those that it leads to, each once, as they are then. One that does not
// exist is nil.
func (a *ArgoCD) visit(ctx context.Context, c *kube.Client, do func(ref kube.Ref, obj *unstructured.Unstructured) error) error {
	return reconciler.Visit(ctx, c, a.applicationRef(), func(obj *unstructured.Unstructured) []kube.Ref {
		_, inner := resources(obj)
		return inner
	}, do)
}

// healthy waits until everything that Argo CD applied is ready, through Applications in Applications.
func (a *ArgoCD) healthy(ctx context.Context, c *kube.Client, w *kube.Watcher, commit string, p plan.Progress) error {
	var root *unstructured.Unstructured
	return a.visit(ctx, c, func(ref kube.Ref, obj *unstructured.Unstructured) error {
		if obj == nil {
			return fault.New(fault.Failed, "it is gone").On("%s", ref).WithHint("something deleted it while it was awaited")
		}
		if root == nil {
			root = obj
		}
		plain, inner := resources(obj)
		for _, ref := range inner {
			if err := w.Until(ctx, ref, "synced", nested(root, commit), p); err != nil {
				return a.stuck(ctx, c, err)
			}
		}
		if err := w.Ready(ctx, plain, p); err != nil {
			return fault.Wrap(err, fault.Failed, "what it applied is not healthy").On("%s", ref)
		}
		return nil
	})
}

// kept says whether an object stays when its Application goes, because it says so itself.
func kept(obj *unstructured.Unstructured) bool {
	options := obj.GetAnnotations()["argocd.argoproj.io/sync-options"]
	return strings.Contains(options, "Delete=false")
}
