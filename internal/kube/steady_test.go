package kube_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

const crashes = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS}
spec:
  selector: {matchExpressions: [{key: app, operator: In, values: [web]}]}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers: [{name: first, image: example.com/web}, {name: sidecar, image: example.com/web, restartPolicy: Always}]
      containers: [{name: app, image: example.com/web}, {name: probed, image: example.com/web, readinessProbe: {tcpSocket: {port: 80}}}]
`

// TestWhatHasJustCrashedDoesNotStayUp takes a container that was started again for what it is, though Kubernetes calls it Ready.
func TestWhatHasJustCrashedDoesNotStayUp(t *testing.T) {
	s := newSpace(t)
	refs := append(s.mustApply(crashes), kube.Ref{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: s.name, Name: "not-there"})
	if err := s.watcher().Ready(s.within(2*time.Minute), refs[:1], nil); err != nil {
		t.Fatal(err)
	}
	if err := s.client.AwaitSteady(s.within(2*time.Minute), refs, nil); err != nil {
		t.Fatalf("what has not crashed: %v", err)
	}
	status := func(container, state string) string {
		return fmt.Sprintf(`{"name": %q, "ready": true, "restartCount": 3, "image": "", "imageID": "", "containerID": "x://1",
			"state": %s, "lastState": {"terminated": {"exitCode": 3, "startedAt": null, "finishedAt": null}}}`, container, state)
	}
	running := func(since time.Time) string {
		return fmt.Sprintf(`{"running": {"startedAt": %q}}`, since.UTC().Format(time.RFC3339))
	}
	pods, err := s.client.Typed().CoreV1().Pods(s.name).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) != 1 {
		t.Fatal(pods, err)
	}
	pod := kube.Ref{Version: "v1", Kind: "Pod", Namespace: s.name, Name: pods.Items[0].Name}
	become := func(sidecar, app, probed string) {
		t.Helper()
		s.patch(pod, types.MergePatchType, fmt.Sprintf(`{"status": {"initContainerStatuses": [%s, %s], "containerStatuses": [%s, %s]}}`,
			status("first", `{"terminated": {"exitCode": 0}}`), status("sidecar", sidecar), status("app", app), status("probed", probed)), "status")
	}
	shaky := func(what string, texts ...string) {
		t.Helper()
		ctx, told := s.untilTold(texts...)
		err := s.client.AwaitSteady(ctx, refs, told)
		if err == nil || !strings.Contains(err.Error(), "does not stay up") || !strings.Contains(err.Error(), "Deployment "+s.name+"/web") {
			t.Errorf("%s: %v", what, err)
		}
	}
	long, later := time.Now().Add(-time.Hour), time.Now().Add(time.Hour) // of a node whose clock is ahead: seen now for the first time

	become(running(long), running(long), running(later))
	if err := s.client.AwaitSteady(s.within(2*time.Minute), refs, nil); err != nil {
		t.Errorf("what crashed long ago, beside one that has a probe: %v", err)
	}
	become(running(long), running(later), running(long))
	shaky("what has just crashed", "container app of pod web-", "was started again after exit 3")
	if err := s.client.AwaitSteady(s.within(2*time.Minute), refs, nil); err != nil {
		t.Errorf("what stays up after it: %v", err)
	}
	become(running(later), running(long), running(long))
	shaky("a sidecar that has just crashed", "container sidecar of pod web-", "was started again after exit 3")
	become(running(long), running(long), `{"terminated": {"exitCode": 4}}`)
	shaky("what has ended, and its Deployment does not know it yet", "container probed of pod web-", "ended with exit 4")
	become(running(long), `{"waiting": {"reason": "CrashLoopBackOff"}}`, running(long))
	shaky("what waits to be started again", "container app of pod web-", "does not run")
	become(running(long), running(long), running(long))
	s.patch(refs[0], types.MergePatchType, `{"spec": {"minReadySeconds": 300}}`)
	shaky("what is not ready any more", "Deployment "+s.name+"/web")
}
