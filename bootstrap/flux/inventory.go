package flux

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// isRemote says whether an object of Flux applies what it has in another cluster.
func isRemote(obj *unstructured.Unstructured) bool {
	_, remote, _ := unstructured.NestedMap(obj.Object, "spec", "kubeConfig")
	return remote && strings.HasSuffix(obj.GroupVersionKind().Group, ".toolkit.fluxcd.io")
}

// inventory gives the objects that a Kustomization has applied in this cluster.
func inventory(obj *unstructured.Unstructured) []kube.Ref {
	if isRemote(obj) {
		return nil
	}
	entries, _, _ := unstructured.NestedSlice(obj.Object, "status", "inventory", "entries")
	var refs []kube.Ref
	for _, entry := range entries {
		fields, _ := entry.(map[string]any)
		id, _ := fields["id"].(string)
		v, _ := fields["v"].(string)
		if ref, ok := parseID(id, v); ok {
			refs = append(refs, ref)
		}
	}
	return refs
}

// parseID reads "namespace_name_group_kind". A name may have colons doubled to underscores, as those
// of RBAC objects ("system__reader"), so the parts are cut from the outside.
func parseID(id, version string) (kube.Ref, bool) {
	namespace, rest, ok := strings.Cut(id, "_")
	if !ok {
		return kube.Ref{}, false
	}
	last := strings.LastIndex(rest, "_")
	if last < 0 {
		return kube.Ref{}, false
	}
	kind, rest := rest[last+1:], rest[:last]
	last = strings.LastIndex(rest, "_")
	if last < 0 {
		return kube.Ref{}, false
	}
	group, name := rest[last+1:], strings.ReplaceAll(rest[:last], "__", ":")
	return kube.Ref{Group: group, Version: version, Kind: kind, Namespace: namespace, Name: name}, true
}

// visit calls do for the Kustomization and for those that it leads to, each once, as they are then. One that does not exist
// is nil.
func (f *Flux) visit(ctx context.Context, c *kube.Client, do func(ref kube.Ref, obj *unstructured.Unstructured) error) error {
	return reconciler.Visit(ctx, c, f.kustomizationRef(), func(ref kube.Ref, obj *unstructured.Unstructured) ([]kube.Ref, error) {
		if err := do(ref, obj); err != nil || obj == nil {
			return nil, err
		}
		return f.nested(obj), nil
	})
}

// nested are the Kustomizations that one has applied.
func (f *Flux) nested(obj *unstructured.Unstructured) []kube.Ref {
	return slices.DeleteFunc(inventory(obj), func(ref kube.Ref) bool { return ref.GroupKind() != f.kustomizationRef().GroupKind() })
}

// healthy waits until everything that Flux applied is healthy, through Kustomizations in Kustomizations.
func (f *Flux) healthy(ctx context.Context, c *kube.Client, w *kube.Watcher, commit string, p plan.Progress) error {
	return f.visit(ctx, c, func(ref kube.Ref, obj *unstructured.Unstructured) error {
		if obj == nil {
			return fault.New(fault.Failed, "it is gone").On("%s", ref).WithHint("something deleted it while it was awaited")
		}
		inner := f.nested(obj)
		for _, one := range inner {
			if err := f.awaitNested(ctx, c, w, one, commit, p); err != nil {
				return err
			}
		}
		plain := slices.DeleteFunc(inventory(obj), func(ref kube.Ref) bool { return slices.Contains(inner, ref) })
		if err := w.AwaitReports(ctx, plain, p); err != nil {
			return err
		}
		if err := w.Ready(ctx, plain, p); err != nil {
			return fault.Wrap(err, fault.Failed, "what it applied is not healthy").On("%s", ref)
		}
		return nil
	})
}

// awaitNested waits for a Kustomization of the repository: until it is at our commit when it is made
// from our GitRepository, else until it is Ready at whatever its own source has.
func (f *Flux) awaitNested(ctx context.Context, c *kube.Client, w *kube.Watcher, ref kube.Ref, commit string, p plan.Progress) error {
	judge := func(obj *unstructured.Unstructured) kube.Health {
		if obj == nil {
			return kube.Health{Message: "does not exist yet"}
		}
		if f.isOurs(obj) {
			return applied(commit, "")(obj)
		}
		return kube.HealthOf(obj)
	}
	if err := w.Until(ctx, ref, "synced", judge, p); err != nil {
		return f.stuck(ctx, c, err)
	}
	return nil
}

// isOurs says whether a Kustomization is made from our GitRepository.
func (f *Flux) isOurs(obj *unstructured.Unstructured) bool {
	kind, _, _ := unstructured.NestedString(obj.Object, "spec", "sourceRef", "kind")
	name, _, _ := unstructured.NestedString(obj.Object, "spec", "sourceRef", "name")
	namespace, _, _ := unstructured.NestedString(obj.Object, "spec", "sourceRef", "namespace")
	if namespace == "" {
		namespace = obj.GetNamespace()
	}
	return kind == kindRepository && name == objectName && namespace == f.spec.Namespace
}
