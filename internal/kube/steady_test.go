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
    spec: {containers: [{name: app, image: example.com/web}, {name: probed, image: example.com/web, readinessProbe: {tcpSocket: {port: 80}}}]}
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
	running := func(container string, since time.Time) string {
		return fmt.Sprintf(`{"name": %q, "ready": true, "restartCount": 3, "image": "", "imageID": "", "containerID": "x://%s",
			"state": {"running": {"startedAt": %q}}, "lastState": {"terminated": {"exitCode": 3, "startedAt": null, "finishedAt": null}}}`,
			container, since, since.UTC().Format(time.RFC3339))
	}
	pods, err := s.client.Typed().CoreV1().Pods(s.name).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) != 1 {
		t.Fatal(pods, err)
	}
	pod := kube.Ref{Version: "v1", Kind: "Pod", Namespace: s.name, Name: pods.Items[0].Name}
	become := func(app, probed time.Time) {
		t.Helper()
		s.patch(pod, types.MergePatchType, fmt.Sprintf(`{"status": {"containerStatuses": [%s, %s]}}`, running("app", app), running("probed", probed)), "status")
	}
	long, later := time.Now().Add(-time.Hour), time.Now().Add(time.Hour) // of a node whose clock is ahead: seen now for the first time

	become(long, later)
	if err := s.client.AwaitSteady(s.within(2*time.Minute), refs, nil); err != nil {
		t.Errorf("what crashed long ago, beside one that has a probe: %v", err)
	}
	become(later, later)
	ctx, told := s.untilTold("container app of pod web-", "was started again after exit 3")
	err = s.client.AwaitSteady(ctx, refs, told)
	if err == nil || !strings.Contains(err.Error(), "does not stay up") || !strings.Contains(err.Error(), "Deployment "+s.name+"/web") {
		t.Errorf("what has just crashed: %v", err)
	}
	if err := s.client.AwaitSteady(s.within(2*time.Minute), refs, nil); err != nil {
		t.Errorf("what stays up after it: %v", err)
	}
	s.patch(refs[0], types.MergePatchType, `{"spec": {"minReadySeconds": 3600}}`)
	ctx, told = s.untilTold("Deployment " + s.name + "/web")
	if err := s.client.AwaitSteady(ctx, refs, told); err == nil {
		t.Error("what is not ready any more stays up")
	}
}
