package argocd

import (
	"encoding/json"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// skipAnnotation has Argo CD not look at an Application, not even when that is deleted.
const skipAnnotation = "argocd.argoproj.io/skip-reconcile"

// isSkipped says whether Argo CD does not look at an Application: what its status says is of the past.
func isSkipped(obj *unstructured.Unstructured) bool {
	skip, err := strconv.ParseBool(obj.GetAnnotations()[skipAnnotation])
	return err == nil && skip
}

// isSkippedInGit says whether it was Argo CD, applying what Git says, that wrote so, and not somebody by hand.
func isSkippedInGit(obj *unstructured.Unstructured) bool {
	return isSkipped(obj) && slices.ContainsFunc(obj.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool {
		var fields struct {
			Metadata struct {
				Annotations map[string]any `json:"f:annotations"`
			} `json:"f:metadata"`
		}
		if !slices.Contains([]string{"argocd-controller", "argocd-applicationset-controller"}, e.Manager) || e.FieldsV1 == nil ||
			json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields) != nil {
			return false
		}
		_, owns := fields.Metadata.Annotations["f:"+skipAnnotation]
		return owns
	})
}
