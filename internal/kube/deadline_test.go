package kube_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// TestADeploymentPastItsDeadlineIsAwaited: what holds its pods back, their data for one, may end after the deadline.
func TestADeploymentPastItsDeadlineIsAwaited(t *testing.T) {
	s := newSpace(t)
	refs := s.mustApply(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: late, namespace: NS}
spec:
  progressDeadlineSeconds: 1
  selector: {matchLabels: {app: late}}
  template:
    metadata: {labels: {app: late}}
    spec: {nodeSelector: {NS: late}, containers: [{name: c, image: i}]}
`)
	passed := make(chan struct{}, 100)
	done := make(chan error, 1)
	go func() {
		done <- s.watcher().Ready(s.within(time.Minute), refs, func(u plan.Update) {
			if strings.Contains(u.Waiting, "progressing") && strings.Contains(u.Waiting, "unschedulable") {
				passed <- struct{}{}
			}
		})
	}()
	select {
	case <-passed:
	case err := <-done:
		t.Fatalf("it gave up: %v", err)
	}
	nodes, err := s.client.Typed().CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node := kube.Ref{Version: "v1", Kind: "Node", Name: nodes.Items[0].Name}
	if err := s.client.MergePatch(t.Context(), node, fmt.Appendf(nil, `{"metadata":{"labels":{%q:"late"}}}`, s.name)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
