package stacks

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// hook is a webhook configuration that is called for a resource of a group.
func hook(group, resource string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": map[string]any{"name": "h"},
		"webhooks": []any{map[string]any{"name": "h.example.com", "rules": []any{
			map[string]any{"apiGroups": []any{group}, "apiVersions": []any{"*"}, "resources": []any{resource}},
		}}},
	}}
}

func TestAReleaseAdmitsWhatItsWebhooksAreCalledFor(t *testing.T) {
	rule := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule"}}
	ingress := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}}
	policy := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}}
	for _, c := range []struct {
		name            string
		group, resource string
		applied         []*unstructured.Unstructured
		want            bool
	}{
		{"its own kind", "monitoring.coreos.com", "prometheusrules", []*unstructured.Unstructured{ingress, rule}, true},
		{"another kind", "monitoring.coreos.com", "prometheusrules", []*unstructured.Unstructured{ingress}, false},
		{"another group", "extensions", "ingresses", []*unstructured.Unstructured{ingress}, false},
		{"a plural with es", "networking.k8s.io", "ingresses", []*unstructured.Unstructured{ingress}, true},
		{"a plural with ies", "networking.k8s.io", "networkpolicies", []*unstructured.Unstructured{policy}, true},
		{"a subresource", "networking.k8s.io", "ingresses/status", []*unstructured.Unstructured{ingress}, true},
		{"everything", "*", "*/*", []*unstructured.Unstructured{ingress}, true},
		{"pods, which workloads make", "", "pods", []*unstructured.Unstructured{}, true},
		{"nothing is applied", "apps", "deployments", []*unstructured.Unstructured{}, false},
		{"what is applied is not known", "apps", "deployments", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &Release{rendered: []*unstructured.Unstructured{hook(c.group, c.resource)}}
			if got := r.Admits(c.applied); got != c.want {
				t.Errorf("admits: %v, want %v", got, c.want)
			}
		})
	}
	if (&Release{}).Admits(nil) {
		t.Error("a release without webhooks admits")
	}
}
