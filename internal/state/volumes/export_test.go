package volumes

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/state"
)

// Abandon begins a restore and leaves it alone, as a run does that is killed.
func Abandon(ctx context.Context, t *testing.T, m *Mover, claim state.Claim, namespace, name string) {
	t.Helper()
	pvc, err := m.Client.Typed().CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.begin(ctx, restoreTask(claim.Snapshot, namespace, name, pvc.UID, false)); err != nil {
		t.Fatal(err)
	}
}

// AbandonCut cuts a volume, begins to read it and leaves all of it alone, as a run does that is killed.
func AbandonCut(ctx context.Context, t *testing.T, m *Mover, v *Volume) {
	t.Helper()
	c, err := m.cut(ctx, v, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Client.Typed().CoreV1().PersistentVolumeClaims(c.namespace).Create(ctx, cutClaim(v, c, m.Set), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	task := backupTask(v, m.Cluster, m.Set, "")
	task.claim = c.name
	if _, err := m.begin(ctx, task); err != nil {
		t.Fatal(err)
	}
}
