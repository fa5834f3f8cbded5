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
			if got := looksAtHealth(&unstructured.Unstructured{Object: map[string]any{"status": status}}, commit); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// The name of a branch or of a tag may have an @.
func TestTheCommitOfARevisionIsWhatFollowsTheLastAt(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for _, revision := range []string{"sha1:" + commit, "main@sha1:" + commit, "renovate/x@2.x@sha1:" + commit} {
		if !isAt(revision, commit) || isAt(revision, commit[1:]+"0") || isAt(revision, "") {
			t.Errorf("%s is not at it, or at another", revision)
		}
	}
}
