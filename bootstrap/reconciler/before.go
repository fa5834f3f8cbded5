package reconciler

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Before is what a cluster had when it was lent. It stays when everything else goes, also where the repository declares it, too: with a
// namespace everything would go that others have in it, and with a CRD all objects of its kind.
type Before struct{ Namespaces, CRDs []string }

// Had says whether an object is a namespace or a CRD that was there.
func (b Before) Had(ref kube.Ref) bool {
	if kube.IsCRD(ref) {
		return slices.Contains(b.CRDs, ref.Name)
	}
	return Outlasts(ref) && slices.Contains(b.Namespaces, ref.Name)
}

// Outlasts says whether an object stays when everything else goes, if it was there before.
func Outlasts(ref kube.Ref) bool {
	return ref.Group == "" && ref.Kind == "Namespace" || kube.IsCRD(ref)
}

// Annotate sets annotations of an object, or removes those whose value is empty, and removes labels.
func Annotate(ctx context.Context, c *kube.Client, ref kube.Ref, values map[string]string, without ...string) error {
	annotations, labels := map[string]any{}, map[string]any{}
	for key, value := range values {
		if annotations[key] = value; value == "" {
			annotations[key] = nil
		}
	}
	for _, label := range without {
		labels[label] = nil
	}
	metadata := map[string]any{"annotations": annotations}
	if len(labels) > 0 {
		metadata["labels"] = labels
	}
	patch, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return err
	}
	return c.MergePatch(ctx, ref, patch)
}

// TellKept warns of objects that are still there, and why: some of them went with their namespace.
func TellKept(ctx context.Context, c *kube.Client, why string, refs []kube.Ref, p plan.Progress) error {
	var left []string
	for _, ref := range refs {
		obj, err := c.Get(ctx, ref)
		if err != nil {
			return err
		}
		if Stands(obj) && !slices.Contains(left, ref.String()) {
			left = append(left, ref.String())
		}
	}
	if len(left) == 0 {
		return nil
	}
	const shown = 5
	text := strings.Join(left[:min(shown, len(left))], ", ")
	if more := len(left) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	p.Warn("stays, as " + why + ": " + text)
	return nil
}

// Stands says whether an object is there and is not being deleted.
func Stands(obj *unstructured.Unstructured) bool {
	return obj != nil && obj.GetDeletionTimestamp() == nil
}
