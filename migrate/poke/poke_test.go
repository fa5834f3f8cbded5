package poke_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/migrate/poke"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

// refused has a Deployment whose pods somebody's policy refuses, as an API server does that is behind; a StatefulSet that waits for its
// first pod, which is never ready; and one that has all.
const refused = `
apiVersion: v1
kind: Namespace
metadata: {name: insist}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: insist}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: insist}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  validations: [{expression: "object.metadata.?labels['app'].orValue('') != 'refused'", message: not yet}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: insist}
spec: {policyName: insist, validationActions: [Deny]}
`

const workloads = `
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: refused, namespace: insist}
spec:
  selector: {matchLabels: {app: refused}}
  template:
    metadata: {labels: {app: refused}}
    spec: {containers: [{name: x, image: example.invalid/x}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: in-order, namespace: insist}
spec:
  replicas: 3
  serviceName: none
  selector: {matchLabels: {app: in-order}}
  template:
    metadata: {labels: {app: in-order}}
    spec: {schedulingGates: [{name: example.com/never}], containers: [{name: x, image: example.invalid/x}]}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: complete, namespace: insist}
spec:
  selector: {matchLabels: {app: complete}}
  template:
    metadata: {labels: {app: complete}}
    spec: {containers: [{name: x, image: example.invalid/x}]}
`

// TestWhatIsRefusedOnceMoreIsTriedAgain: what another API server refuses that follows later would wait for long.
func TestWhatIsRefusedOnceMoreIsTriedAgain(t *testing.T) {
	c, err := kube.Connect(kwoktest.Shared(t).REST)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	apply := func(manifest string) {
		t.Helper()
		objs, err := kube.ParseManifest([]byte(manifest))
		if err == nil {
			_, err = c.Apply(t.Context(), objs, kube.ApplyOptions{Manager: "test"})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	until := func(what string, check func(ctx context.Context) (bool, string, error)) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := wait.Poll(ctx, wait.Func(what, check), 200*time.Millisecond, nil); err != nil {
			t.Fatal(err)
		}
	}
	apply(refused)
	until("pods are refused", func(ctx context.Context) (bool, string, error) {
		_, err := c.Typed().CoreV1().Pods("insist").Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "x", Labels: map[string]string{"app": "refused"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: "example.invalid/x"}}},
		}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err != nil && strings.Contains(err.Error(), "not yet"), fmt.Sprint(err), nil
	})
	apply(workloads)
	until("the others have their pods", func(ctx context.Context) (bool, string, error) {
		complete, err := c.Typed().AppsV1().ReplicaSets("insist").Get(ctx, "complete", metav1.GetOptions{})
		if err != nil {
			return false, "", err
		}
		inOrder, err := c.Typed().AppsV1().StatefulSets("insist").Get(ctx, "in-order", metav1.GetOptions{})
		return err == nil && complete.Status.Replicas == 1 && inOrder.Status.Replicas == 1, "", err
	})

	since := time.Now()
	poke.Insist(t.Context(), c, nil)
	poked := map[string]int{}
	for _, write := range kwoktest.AuditWrites(t, kwoktest.Shared(t), since) {
		for _, name := range []string{"replicasets/refused", "statefulsets/in-order", "replicasets/complete"} {
			if write.Verb == "patch" && strings.Contains(write.URI, "/namespaces/insist/"+name) {
				poked[name]++
			}
		}
	}
	if want := map[string]int{"replicasets/refused": 4}; fmt.Sprint(poked) != fmt.Sprint(want) {
		t.Errorf("poked by %v writes, want %v", poked, want)
	}
}
