package volumes_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
)

// lonely makes a pod with a hook that has a claim mounted and that no scheduler knows.
func (w *world) lonely(name, claim, more string) {
	w.Helper()
	w.apply(`
apiVersion: v1
kind: Pod
metadata: {name: ` + name + `, namespace: NS, annotations: {pre.hook.backup.velero.io/command: /bin/true}}
spec:
  schedulerName: nobody` + more + `
  containers: [{name: main, image: example.invalid/x}]
  volumes: [{name: a, persistentVolumeClaim: {claimName: ` + claim + `}}]
`)
}

// bind does what a scheduler does.
func (w *world) bind(pod string) {
	w.Helper()
	nodes, err := w.client.Typed().CoreV1().Nodes().List(w.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) == 0 {
		w.Fatalf("nodes: %v", err)
	}
	err = w.client.Typed().CoreV1().Pods(w.namespace).Bind(w.Context(), &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: pod}, Target: corev1.ObjectReference{Kind: "Node", Name: nodes.Items[0].Name},
	}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
}

// TestAPodThatComesIsWaitedFor: a mover that does not would keep the volume from it, and read it without the pod's hooks.
func TestAPodThatComesIsWaitedFor(t *testing.T) {
	w := newWorld(t, "comes")
	w.claim("data", "ReadWriteOnce", "", "")
	w.claim("log", "ReadWriteOnce", "", "")
	before := w.find()
	w.lonely("db", "data", "")
	w.lonely("held", "log", "\n  schedulingGates: [{name: example.com/later}]")

	bound := false
	progress := func(u plan.Update) {
		if !bound && strings.Contains(u.Waiting, "pod db has no node yet") {
			bound = true
			w.bind("db")
		}
	}
	now, err := volumes.Again(t.Context(), w.client, []volumes.Volume{before["data"], before["log"]}, false, progress)
	if err != nil || len(now) != 2 {
		t.Fatalf("%+v, %v", now, err)
	}
	if before["data"].Node != "" || !bound || now[0].Node == "" || len(now[0].Hooked) != 1 || now[0].Hooked[0].Name != "db" {
		t.Errorf("waited %t; it is read on the node %q, with the hooks of %+v", bound, now[0].Node, now[0].Hooked)
	}
	if now[1].Node != "" || len(now[1].Hooked) != 0 {
		t.Errorf("of a pod that somebody holds back: %+v", now[1])
	}
}

// TestWhatTookAnotherPlaceIsNotReadByItsOldOne: a run of hours looks again before it begins with a volume.
func TestWhatTookAnotherPlaceIsNotReadByItsOldOne(t *testing.T) {
	w := newWorld(t, "again")
	for _, name := range []string{"data", "gone", "skipped"} {
		w.claim(name, "ReadWriteOnce", "", "")
	}
	w.pod("db-1", "pre.hook.backup.velero.io/command: /bin/true", "data")
	before := w.find()
	w.delete("Pod", "db-1")
	w.pod("db-2", "pre.hook.backup.velero.io/command: /bin/true", "data")
	w.delete("PersistentVolumeClaim", "gone")
	skip := []byte(`{"metadata":{"annotations":{"rekindle.dev/snapshot":"skip"}}}`)
	if _, err := w.client.Typed().CoreV1().PersistentVolumeClaims("again").Patch(t.Context(), "skipped", types.MergePatchType, skip, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}

	now, err := volumes.Again(t.Context(), w.client, []volumes.Volume{before["data"], before["gone"], before["skipped"]}, false, nil)
	if len(now) != 1 || len(now[0].Hooked) != 1 || now[0].Hooked[0].Name != "db-2" {
		t.Errorf("before %+v, now %+v", before["data"].Hooked, now)
	}
	for _, says := range []string{"claim again/gone: was deleted since the snapshot began", "claim again/skipped: is left out since the snapshot began"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q in: %v", says, err)
		}
	}
}

// TestAPodThatDoesNotComeIsTold: neither one that is late, nor one that is held back, is waited for.
func TestAPodThatDoesNotComeIsTold(t *testing.T) {
	now := time.Now()
	pod := func(age time.Duration, edit func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "db", CreationTimestamp: metav1.NewTime(now.Add(-age))}}
		p.Status.Phase = corev1.PodPending
		edit(p)
		return p
	}
	hooked := map[string]string{"post.hook.backup.velero.io/command": "x"}
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		why  string
		late bool
	}{
		"comes":      {pod(time.Minute, func(*corev1.Pod) {}), "has no node yet", false},
		"never":      {pod(time.Hour, func(*corev1.Pod) {}), "has no node yet", true},
		"held":       {pod(time.Minute, func(p *corev1.Pod) { p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "x"}} }), "", false},
		"there":      {pod(time.Minute, func(p *corev1.Pod) { p.Spec.NodeName = "a" }), "", false},
		"not quiet":  {pod(time.Minute, func(p *corev1.Pod) { p.Spec.NodeName, p.Annotations = "a", hooked }), "has hooks and does not run yet", false},
		"ends":       {pod(time.Hour, func(p *corev1.Pod) { p.Spec.NodeName, p.DeletionTimestamp = "a", &metav1.Time{Time: now} }), "is ending", false},
		"never came": {pod(time.Minute, func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: now} }), "", false},
	} {
		if why, late := volumes.OnItsWay(c.pod, now); why != c.why || late != c.late {
			t.Errorf("%s: %q, %t", name, why, late)
		}
	}
	late := pod(time.Hour, func(p *corev1.Pod) { p.Annotations = hooked })
	if got := volumes.WarnsOfUser("", late); !strings.Contains(got, "although the pod db has no node yet: its hooks may not run, and what it writes") {
		t.Errorf("told: %q", got)
	}
	if got := volumes.WarnsOfUser("node", late); got != "" {
		t.Errorf("where another has it: %q", got)
	}
}
