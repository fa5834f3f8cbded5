package flux

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Flux writes its conditions first and its inventory a moment later: whoever looked between the two would find nothing to wait for.
func TestAppliedMeansThatItIsKnownWhat(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	inventory := map[string]any{"entries": []any{map[string]any{"id": "shop_web_apps_Deployment", "v": "v1"}}}
	for _, c := range []struct {
		name      string
		message   string
		attempted string
		inventory map[string]any
		want      bool
	}{
		{"building", "Building manifests for revision x", commit, nil, false},
		{"looks at health, of nothing yet", "Running health checks for revision x", commit, nil, false},
		{"looks at health", "Running health checks for revision x", commit, inventory, true},
		{"looks at the health of another commit", "Running health checks for revision x", "fedcba9876543210", inventory, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			status := map[string]any{
				"lastAttemptedRevision": "main@sha1:" + c.attempted,
				"conditions": []any{
					map[string]any{"type": "Ready", "status": "Unknown", "reason": "Progressing"},
					map[string]any{"type": "Reconciling", "status": "True", "message": c.message},
				},
			}
			if c.inventory != nil {
				status["inventory"] = c.inventory
			}
			if h := checkedBy(commit, "")(&unstructured.Unstructured{Object: map[string]any{"status": status}}); h.Ready != c.want {
				t.Errorf("ready: %v, want %v (%s)", h.Ready, c.want, h.Message)
			}
		})
	}
}
