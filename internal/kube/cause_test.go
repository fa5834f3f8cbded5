package kube

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestACauseIsToldOnce where the health of an object says already what its condition does, and without the line break at its end.
func TestACauseIsToldOnce(t *testing.T) {
	const says = "kustomization path not found: stat /tmp/x: no such file"
	obj := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": []any{
		map[string]any{"type": "Ready", "status": "False", "reason": "ArtifactFailed", "message": says + "\n"},
	}}}}
	_, reason, message := Condition(obj, "Ready")
	causes := conditionText(badConditions(obj)[0])
	if causes != "Ready=False (ArtifactFailed): "+says {
		t.Errorf("the condition is %q", causes)
	}
	ref := Ref{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Kind: "Kustomization", Namespace: "flux-system", Name: "shop"}
	for _, c := range []struct{ health, causes, text, fault string }{
		{reason + ": " + message, causes, "ArtifactFailed: " + says, ": ArtifactFailed: " + says},
		{reason + ": " + message, "pod x is gone; " + causes + "; Stalled=True (X): y", "ArtifactFailed: " + says + ": pod x is gone; Stalled=True (X): y", ": ArtifactFailed: " + says + ": pod x is gone; Stalled=True (X): y"},
		{"is at 1, not at 2", causes, "is at 1, not at 2: " + causes, ": is at 1, not at 2: " + causes},
		{"0/1 ready", "", "0/1 ready", ": 0/1 ready"},
	} {
		it := &item{ref: ref, health: Health{Message: c.health}}
		if got := it.text(map[Ref]string{ref: c.causes}); got != ref.String()+" "+c.text {
			t.Errorf("while it is waited for: %q, want %q", got, c.text)
		}
		if got := it.fault(c.causes).Error(); got != ref.String()+c.fault {
			t.Errorf("as a fault: %q, want %q", got, c.fault)
		}
	}
}
