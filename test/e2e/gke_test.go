//go:build e2e

package e2e

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/test/gke"
)

const onGKE = "clusters/prod-gke/cluster.yaml"

// nodeOfGKE is what stands behind a cluster of the emulator. The lab's nodes do not reach each other's pods: it is one.
const nodeOfGKE = `kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
    extraPortMappings:
      - {containerPort: 30080, hostPort: PORT, listenAddress: 127.0.0.1}
`

// TestShopOnGKE has the sample's document for GKE come up behind the emulator of GKE's API, on a real node of kind.
// Nothing of the document is left out but two of its three zones: the machine is small.
func TestShopOnGKE(t *testing.T) {
	w := newWorldOf(t, "gke-unused", nil)
	server := w.google("8089")
	w.pointToLab()

	if doc := w.gke(0, "up"); doc.Result != "proven" || len(doc.Unproven) != 0 {
		t.Fatalf("up: %s, not proven: %v", doc.Result, doc.Unproven)
	}
	nodes := server.Behind()
	w.reachesOutside()
	if doc := w.gke(0, "up"); doc.Changes != 0 {
		t.Errorf("up again made %d changes", doc.Changes)
	}
	w.gke(0, "status")

	released := func(s report.DocumentStep) bool { return s.ID == "release" && s.Outcome == plan.Changed }
	if doc := w.gke(0, "down", "--yes"); !slices.ContainsFunc(doc.Steps, released) {
		t.Error("the load balancer and the claims were not released")
	}
	if left := server.Left(); len(left) > 0 {
		t.Errorf("Google is left with %+v", left)
	}
	for _, name := range nodes {
		if left := docker(t, "ps", "--all", "--quiet", "--filter", "name=^"+name); left != "" {
			t.Errorf("containers of %s are left: %s", name, left)
		}
	}
	if doc := w.gke(0, "down", "--yes"); doc.Changes != 0 {
		t.Errorf("a second down made %d changes", doc.Changes)
	}
}

// google starts the emulator, with kind behind its clusters; what they run answers at a port of this machine.
func (w *world) google(port string) *gke.Server {
	w.t.Helper()
	behind := func(int) (providers.Provider, error) {
		raw, err := w.env.KindConfig([]byte(strings.Replace(nodeOfGKE, "PORT", port, 1)))
		return kind.New(kind.Settings{Config: raw}), err
	}
	server, err := gke.Open(w.t.Context(), gke.Options{Dir: filepath.Join(w.home, "google"), Behind: behind})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := server.Close(); err != nil {
			w.t.Error(err)
		}
		if err := server.Destroy(context.WithoutCancel(w.t.Context())); err != nil {
			w.t.Error(err)
		}
	})
	w.vars = append(w.vars, "REKINDLE_GKE_ENDPOINT="+server.URL(), "REKINDLE_GKE_CA="+server.CAFile(), "GOOGLE_APPLICATION_CREDENTIALS="+server.CredentialsFile())
	return server
}

// pointToLab has the document take charts and repository from where they are here.
func (w *world) pointToLab() {
	w.t.Helper()
	prod, err := config.Load(w.repo.Path("clusters/prod/cluster.yaml"))
	if err != nil {
		w.t.Fatal(err)
	}
	const registry = "oci://europe-west6-docker.pkg.dev/acme-shop/charts"
	charts := prod.Cluster.Spec.Variables["CHARTS"]
	w.replace(onGKE, "CHARTS: "+registry, "CHARTS: "+charts)
	w.replace(onGKE, "chart: "+registry, "chart: "+charts)
	w.replace(onGKE, "https://git.example.com/acme/shop.git", prod.Cluster.Spec.Source.URL)
	w.replace(onGKE, "interval: 1m", "interval: 5s")
	w.replace(onGKE, "INGRESS: shop.example.com", "INGRESS: 127.0.0.1:8089")
	w.replace(onGKE, "channel: regular", "nodeLocations: [europe-west6-a]\n      channel: regular")
	w.commit("Use the registry and the repository that are here")
}

// gke runs a command of the shop's cluster on GKE and wants an exit code.
func (w *world) gke(code int, name string, args ...string) report.Document {
	w.t.Helper()
	out, got := w.command(w.t.Context(), append([]string{name, onGKE, "-o", "json"}, args...)...)
	return w.judge(name, code, got, out)
}

// reachesOutside sees, by the context that up added, that there is a balancer and a volume for down to release.
func (w *world) reachesOutside() {
	w.t.Helper()
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&clientcmd.ClientConfigLoadingRules{ExplicitPath: w.kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: "gke-shop-gke"}).ClientConfig()
	if err != nil {
		w.t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ingress, err := client.CoreV1().Services("ingress").Get(w.t.Context(), "skipper", metav1.GetOptions{})
	if err != nil || ingress.Spec.Type != corev1.ServiceTypeLoadBalancer {
		w.t.Errorf("the ingress is %+v, %v", ingress, err)
	}
	volumes, err := client.CoreV1().PersistentVolumes().List(w.t.Context(), metav1.ListOptions{})
	if err != nil || len(volumes.Items) == 0 {
		w.t.Errorf("volumes: %v, %v", volumes, err)
	}
}
