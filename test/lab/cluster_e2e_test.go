//go:build e2e

package lab_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/test/lab/labtest"
)

// exporter is a pod that comes up only if its image is pulled through the mirror, its claim is bound,
// and the kubelet reaches it on the pods' network.
const exporter = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: exporter}
spec:
  securityContext: {runAsNonRoot: true}
  containers:
    - name: exporter
      image: quay.io/prometheus/node-exporter:v1.12.1
      readinessProbe: {httpGet: {path: /metrics, port: 9100}, periodSeconds: 1}
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
`

func TestAClusterOfTheNodeImageRunsAPodThroughTheMirror(t *testing.T) {
	env := labtest.Require(t)
	const name = "rekindle-lab-e2e"
	kubeconfig := t.TempDir() + "/kubeconfig"
	start := time.Now()
	labtest.NewCluster(t, name, labtest.KindConfig(t, env, ""), kubeconfig)
	t.Logf("the cluster took %s", time.Since(start).Round(100*time.Millisecond))
	kubectl := func(ctx context.Context, stdin string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "docker", append([]string{"exec", "-i", name + "-control-plane",
			"kubectl", "--kubeconfig=/etc/kubernetes/admin.conf"}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	// A bare pod is refused before its namespace has this; kind does not wait for it.
	if out, err := kubectl(ctx, "", "wait", "--for=create", "serviceaccount/default", "--timeout=1m"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := kubectl(ctx, exporter, "apply", "-f", "-"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ready := wait.Func("all pods are ready", func(ctx context.Context) (bool, string, error) {
		out, err := kubectl(ctx, "", "get", "pods", "-A", "--no-headers", "-o",
			`jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
		if err != nil {
			return false, out, nil
		}
		pods := strings.Split(strings.TrimSpace(out), "\n")
		for _, pod := range pods {
			if !strings.HasSuffix(pod, " True") {
				return false, pod, nil
			}
		}
		return len(pods) >= 9, out, nil
	})
	if err := wait.Poll(ctx, ready, time.Second, nil); err != nil {
		all, _ := kubectl(t.Context(), "", "describe", "pods", "-A")
		t.Fatalf("%v\n%s", err, all)
	}
	t.Logf("all pods were ready after %s", time.Since(start).Round(100*time.Millisecond))
}
