package helm

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	helmkube "helm.sh/helm/v3/pkg/kube"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// Ignored is a field that something in the cluster manages: it is neither compared nor set once its object exists.
type Ignored struct {
	Kind string
	Name string // empty for all of the kind
	Path string // as a difference shows it, "spec.replicas"; * stands for every item of a list
}

const replicasPath = "spec.replicas"

// leftToOthers gives the objects as they are wanted, but with what is live in those fields that something else manages. The
// objects are not changed.
func (r Release) leftToOthers(ctx context.Context, c *kube.Client, objs []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	scaled, err := scaledBySomething(ctx, c, objs)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(objs)
	for i, obj := range objs {
		paths := r.ignoredIn(obj)
		least, isScaled := scaled[scaleTarget(obj.GetNamespace(), obj.GetKind(), obj.GetName())]
		if len(paths) == 0 && !isScaled {
			continue
		}
		live, err := c.Get(ctx, kube.RefOf(obj))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", kube.RefOf(obj), err)
		}
		if live == nil {
			continue
		}
		if replicas, _, _ := unstructured.NestedInt64(live.Object, "spec", "replicas"); isScaled && replicas >= least {
			paths = append(paths, replicasPath)
		}
		out[i] = obj.DeepCopy()
		for _, path := range paths {
			borrow(out[i].Object, live.Object, path)
		}
	}
	return out, nil
}

// leaveToOthers is leftToOthers for what Helm is about to apply.
func (g *guard) leaveToOthers(target helmkube.ResourceList) error {
	var objs []*unstructured.Unstructured
	for _, info := range target {
		obj, ok := info.Object.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("%s is not an unstructured object", info.Name) // Helm builds no other
		}
		objs = append(objs, obj)
	}
	out, err := g.release.leftToOthers(g.ctx, g.client, objs)
	if err != nil {
		return err
	}
	for i, info := range target {
		info.Object = out[i]
	}
	return nil
}

func (r Release) ignoredIn(obj *unstructured.Unstructured) (paths []string) {
	for _, field := range r.Ignore {
		if field.Kind == obj.GetKind() && (field.Name == "" || field.Name == obj.GetName()) {
			paths = append(paths, field.Path)
		}
	}
	return paths
}

func scaleTarget(namespace, kind, name string) string { return namespace + "/" + kind + "/" + name }

// scaledBySomething finds what an autoscaler of the cluster, or one among the objects, scales, and to what at least: most stand
// still at 0 replicas, which is somebody else's doing then.
func scaledBySomething(ctx context.Context, c *kube.Client, objs []*unstructured.Unstructured) (map[string]int64, error) {
	scaled, namespaces := map[string]int64{}, map[string]bool{}
	for _, obj := range objs { // whether or not they have spec.replicas: where an upgrade took it away the server would put 1
		switch kind := obj.GetKind(); kind {
		case "Deployment", "StatefulSet", "ReplicaSet":
			namespaces[obj.GetNamespace()] = true
		case "HorizontalPodAutoscaler", "ScaledObject":
			target, _, _ := unstructured.NestedString(obj.Object, "spec", "scaleTargetRef", "kind")
			name, _, _ := unstructured.NestedString(obj.Object, "spec", "scaleTargetRef", "name")
			least := int64(1)
			if kind == "ScaledObject" {
				target, least = cmp.Or(target, "Deployment"), 0 // KEDA's default
			}
			scaled[scaleTarget(obj.GetNamespace(), target, name)] = least
		}
	}
	for _, namespace := range slices.Sorted(maps.Keys(namespaces)) {
		list, err := c.Typed().AutoscalingV2().HorizontalPodAutoscalers(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			f := fault.Wrap(err, fault.Failed, "list the autoscalers of namespace %s", namespace)
			if kube.Transient(err) {
				return nil, f.Transient()
			}
			return nil, f
		}
		for _, scaler := range list.Items {
			least := int64(1)
			if fewest := scaler.Spec.MinReplicas; fewest != nil && *fewest == 0 || scaler.Labels["scaledobject.keda.sh/name"] != "" {
				least = 0
			}
			target := scaler.Spec.ScaleTargetRef
			scaled[scaleTarget(namespace, target.Kind, target.Name)] = least
		}
	}
	return scaled, nil
}

// borrow puts into want what live has at a path.
func borrow(want, live any, path string) {
	switch want := want.(type) {
	case map[string]any:
		have, _ := live.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if _, ok := have[key]; !ok && key == path {
				delete(want, key)
			}
			if rest, ok := strings.CutPrefix(path, key+"."); ok {
				borrow(want[key], have[key], rest)
			}
		}
		if value, ok := have[path]; ok {
			want[path] = runtime.DeepCopyJSONValue(value)
		}
	case []any:
		have, _ := live.([]any)
		index, rest, _ := strings.Cut(path, ".")
		for i, item := range want {
			if index == "*" || index == strconv.Itoa(i) {
				borrow(item, counterpart(have, i, item), rest)
			}
		}
	}
}

// counterpart is the item of a live list that stands for one that is wanted: that of the same name, else the one at its place.
func counterpart(have []any, i int, item any) any {
	if wanted, _ := item.(map[string]any); wanted["name"] != nil {
		for _, other := range have {
			if other, _ := other.(map[string]any); other["name"] == wanted["name"] {
				return other
			}
		}
	}
	if i < len(have) {
		return have[i]
	}
	return nil
}
