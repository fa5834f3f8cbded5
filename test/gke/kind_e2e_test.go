//go:build e2e

package gke_test

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kind"
	gke "github.com/rekindle-dev/rekindle/test/gke"
	"github.com/rekindle-dev/rekindle/test/gke/gketest"
	"github.com/rekindle-dev/rekindle/test/lab/labtest"
)

// TestRealNodes has kind behind a cluster: what is run in its pods goes through the front.
func TestRealNodes(t *testing.T) {
	env := labtest.Require(t)
	behind := func(int) (providers.Provider, error) {
		raw, err := env.KindConfig([]byte("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"))
		return kind.New(kind.Settings{Config: raw}), err
	}
	s := gketest.Start(t, gke.Options{Behind: behind})
	client := overGRPC(t, s)
	o, err := client.CreateCluster(t.Context(), cluster("real"))
	done(t, client, o, err)
	made := get(t, client, "real")
	defer func() {
		o, err := client.DeleteCluster(t.Context(), gone("real"))
		done(t, client, o, err)
	}()
	ca, err := base64.StdEncoding.DecodeString(made.GetMasterAuth().GetClusterCaCertificate())
	if err != nil {
		t.Fatal(err)
	}
	config := &rest.Config{Host: "https://" + made.GetEndpoint(), BearerToken: s.Token(), TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := api.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{LabelSelector: "cloud.google.com/gke-nodepool=default"})
	if err != nil || len(nodes.Items) != 1 {
		t.Errorf("nodes of the pool: %v, %v", nodes, err)
	}
	url := api.CoreV1().RESTClient().Get().Resource("pods").Namespace("kube-system").Name(runningProxy(t, api)).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: []string{"kube-proxy", "--version"}, Stdout: true}, scheme.ParameterCodec).URL()
	if out := overWebSocket(t, config, url.String()); !strings.Contains(out, "Kubernetes v") {
		t.Errorf("exec gave %q", out)
	}
}

// runningProxy waits for a pod that runs, and gives its name.
func runningProxy(t *testing.T, api kubernetes.Interface) (name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	running := wait.Func("kube-proxy runs", func(ctx context.Context) (bool, string, error) {
		pods, err := api.CoreV1().Pods("kube-system").List(ctx, metav1.ListOptions{LabelSelector: "k8s-app=kube-proxy"})
		if err != nil || len(pods.Items) == 0 || pods.Items[0].Status.Phase != corev1.PodRunning {
			return false, "", err
		}
		name = pods.Items[0].Name
		return true, "", nil
	})
	if err := wait.Poll(ctx, running, 500*time.Millisecond, nil); err != nil {
		t.Fatal(err)
	}
	return name
}

// overWebSocket makes a request that changes the protocol, and gives what comes then. Frames of a server hold
// their text as it is.
func overWebSocket(t *testing.T, config *rest.Config, url string) string {
	t.Helper()
	config = rest.CopyConfig(config)
	config.NextProtos = []string{"http/1.1"}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "v5.channel.k8s.io",
	} {
		req.Header.Set(key, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body) // the server hangs up at the end
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("%s: %s", resp.Status, raw)
	}
	return string(raw)
}
