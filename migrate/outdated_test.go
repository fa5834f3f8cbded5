package migrate

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/migrate/gate"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

const outdatedSet = `apiVersion: v1
kind: Namespace
metadata: {name: outdated}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: outdated}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: main, image: example.invalid/db:IMAGE, volumeMounts: [{name: data, mountPath: /data}]}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`

// TestAHeldPodIsAsItsStatefulSetWantsIt corrects a StatefulSet whose pod is held back: the controller would leave that as
// it is until it is ready.
func TestAHeldPodIsAsItsStatefulSetWantsIt(t *testing.T) {
	c, err := kube.Connect(kwoktest.Shared(t).REST)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	g := gate.New(c)
	if _, err := g.PutUp(t.Context(), "set", map[gate.Claim]bool{{Namespace: "outdated", Name: "data-db-0"}: true}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := g.TakeAway(context.WithoutCancel(t.Context()), "set", nil); err != nil {
			t.Error(err)
		}
	})
	apply := func(image string) {
		objs, err := kube.ParseManifest([]byte(strings.ReplaceAll(outdatedSet, "IMAGE", image)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Apply(t.Context(), objs, kube.ApplyOptions{Manager: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	held := func(image string) *corev1.Pod {
		var pod *corev1.Pod
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		err := wait.Poll(ctx, wait.Func("the pod of "+image, func(ctx context.Context) (bool, string, error) {
			pod, err = c.Typed().CoreV1().Pods("outdated").Get(ctx, "db-0", metav1.GetOptions{})
			return err == nil && gate.Held(pod) && strings.HasSuffix(pod.Spec.Containers[0].Image, image), "", nil
		}), pullLook, nil)
		if err != nil {
			t.Fatal(err)
		}
		return pod
	}
	apply("wrong")
	before := held("wrong")
	renew := func() (told string) {
		if err := renewHeld(t.Context(), c, func(u plan.Update) { told += u.Note }); err != nil {
			t.Fatal(err)
		}
		return told
	}
	if told := renew(); told != "" || held("wrong").UID != before.UID {
		t.Errorf("a pod that is as it should be is made anew: %s", told)
	}
	apply("right")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := wait.Poll(ctx, wait.Func("the controller to see the change", func(ctx context.Context) (bool, string, error) {
		set, err := c.Typed().AppsV1().StatefulSets("outdated").Get(ctx, "db", metav1.GetOptions{})
		return err == nil && set.Status.ObservedGeneration == set.Generation, "", err
	}), pullLook, nil); err != nil {
		t.Fatal(err)
	}
	if told := renew(); !strings.Contains(told, "outdated/db-0 is recreated") {
		t.Errorf("it is told as %q", told)
	}
	held("right")
}
