package kube_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

func TestSince(t *testing.T) {
	obj := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": []any{
		map[string]any{"type": "Available", "status": "True", "lastTransitionTime": "2026-11-29T02:04:00Z"},
		map[string]any{"type": "Progressing", "status": "True", "lastTransitionTime": "soon"},
	}}}}
	if got, want := kube.Since(obj, "Available"), time.Date(2026, 11, 29, 2, 4, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, name := range []string{"Progressing", "Ready"} {
		if got := kube.Since(obj, name); !got.IsZero() {
			t.Errorf("%s: %v", name, got)
		}
	}
}
