package volumes

import (
	"context"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/plan"
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

// OnItsWay is onItsWay.
func OnItsWay(pod *corev1.Pod, now time.Time) (string, bool) { return onItsWay(pod, now) }

// WarnsOfUser is what is told of a volume that is on a node, or on none, because of one of its users.
func WarnsOfUser(node string, user *corev1.Pod) string {
	told := ""
	v := &Volume{Node: node}
	v.warnOfUsers([]*corev1.Pod{user}, func(u plan.Update) { told += u.Warning })
	return told
}

// Unstarted is what a schedule tells of a Job that does not start, at some time.
func (s *Schedule) Unstarted(ctx context.Context, job *batchv1.Job, now time.Time) error {
	return s.unstarted(ctx, job, now)
}

// Outgrown is outgrown.
var Outgrown = outgrown
