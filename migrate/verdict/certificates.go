package verdict

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// Certificates judges those of cert-manager, in a cluster where none can be ordered: one that is not ready had no Secret
// come back, and a rebuild would have it ordered anew. A cluster without cert-manager has none.
func Certificates(ctx context.Context, c *kube.Client) ([]Finding, error) {
	mapping, err := c.Mapper().RESTMapping(schema.GroupKind{Group: "cert-manager.io", Kind: "Certificate"})
	if meta.IsNoMatchError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find where certificates are served: %w", err)
	}
	list, err := c.Dynamic().Resource(mapping.Resource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the certificates: %w", err)
	}
	var findings []Finding
	for i := range list.Items {
		obj := &list.Items[i]
		if status, _, message := kube.Condition(obj, "Ready"); status != "True" {
			text := "was not restored: a rebuild orders a new one"
			if message != "" {
				text += " (" + message + ")"
			}
			findings = append(findings, Finding{Ordered, kube.RefOf(obj).String(), text})
		}
	}
	return findings, nil
}
