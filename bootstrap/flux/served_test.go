package flux_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// TestASourceOfThisRunIsNoDifference where the cluster has followed that of an earlier one, at an address where nobody answers any
// more. What differs beside that is told.
func TestASourceOfThisRunIsNoDifference(t *testing.T) {
	l := newLab(t)
	l.commit(map[string]string{"ns.yaml": namespace})
	l.mustUp()
	now := l.target
	now.Source.URL = "http://127.0.0.1:1/"
	if err := l.flux.Status(t.Context(), l.client, now); err == nil || !strings.Contains(err.Error(), "spec.url is not as declared") {
		t.Errorf("another URL of the document: %v", err)
	}
	now.Served = true
	if err := l.flux.Status(t.Context(), l.client, now); err != nil {
		t.Errorf("a source of this run: %v", err)
	}
	now.Source.Interval.Duration = 0
	now.Source.Ref.Branch = "other"
	if err := l.flux.Status(t.Context(), l.client, now); err == nil || !strings.Contains(err.Error(), "is not as declared") {
		t.Errorf("another branch: %v", err)
	}
	now = l.target
	now.Served, now.Commit = true, strings.Repeat("1", 40)
	if err := l.flux.Status(t.Context(), l.client, now); err == nil || !strings.Contains(err.Error(), "not at 111111111111") {
		t.Errorf("another commit: %v", err)
	}
}

// TestASourceThatIsGoneIsAtItsCommit: Flux looks for it at each interval, in vain.
func TestASourceThatIsGoneIsAtItsCommit(t *testing.T) {
	l := newLab(t)
	l.commit(map[string]string{"ns.yaml": namespace})
	l.mustUp()
	ref := kube.Ref{Group: "source.toolkit.fluxcd.io", Version: "v1", Kind: "GitRepository", Namespace: "flux-system", Name: "rekindle"}
	if err := l.client.MergePatch(t.Context(), ref, []byte(`{"spec":{"url":"http://127.0.0.1:1/"}}`)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.watcher.Until(ctx, ref, "looked for in vain", func(obj *unstructured.Unstructured) kube.Health {
		status, _, message := kube.Condition(obj, "Ready")
		return kube.Health{Ready: status == "False", Message: message}
	}, nil); err != nil {
		t.Fatal(err)
	}
	now := l.target
	now.Served = true
	if err := l.flux.Status(t.Context(), l.client, now); err != nil {
		t.Errorf("status: %v", err)
	}
}
