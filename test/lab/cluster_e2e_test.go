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
	t.Run("services outlive a change of the node's zone", func(t *testing.T) { servicesStay(ctx, t, name+"-control-plane") })
}

// servicesStay has kube-proxy write all of its rules anew, and reaches the API server by its Service before and after it.
func servicesStay(ctx context.Context, t *testing.T, node string) {
	in := func(command string) (string, error) {
		out, err := exec.CommandContext(ctx, "docker", "exec", "--env", "KUBECONFIG=/etc/kubernetes/admin.conf", node, "sh", "-c", command).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	const syncs = `curl --silent --fail http://127.0.0.1:10249/metrics | grep '^kubeproxy_sync_full_proxy_rules_duration_seconds_count'`
	reached := func(when string) {
		t.Helper()
		if out, err := in("curl --silent --show-error --insecure --max-time 20 https://10.96.0.1/livez"); err != nil || out != "ok" {
			t.Errorf("%s: the API server by its Service: %v: %s", when, err, out)
		}
	}
	reached("before")
	before, err := in(syncs)
	if err != nil {
		t.Fatalf("%v: %s", err, before)
	}
	if out, err := in("kubectl label node " + node + " topology.kubernetes.io/zone=elsewhere"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	again := wait.Func("kube-proxy writes its rules anew", func(context.Context) (bool, string, error) {
		now, err := in(syncs)
		return err == nil && now != before, now, nil
	})
	if err := wait.Poll(ctx, again, time.Second, nil); err != nil {
		t.Fatal(err)
	}
	reached("after")
}
