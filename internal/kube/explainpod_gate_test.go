package kube

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/rekindle-dev/rekindle/internal/marks"
)

// TestWhatHoldsBackAPodIsNamed: a rebuild holds pods back, and so does a migration, in which rebuild is refused.
func TestWhatHoldsBackAPodIsNamed(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{SchedulingGates: []corev1.PodSchedulingGate{{Name: marks.StateGate}}}}
	lines := (&Client{}).explainPod(t.Context(), pod)
	if len(lines) != 1 || !strings.Contains(lines[0], "rekindle rebuild") || !strings.Contains(lines[0], "rekindle migrate") {
		t.Errorf("told is %q", lines)
	}
}
