package faults

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

const (
	shopOnGKE   = "clusters/prod-gke/cluster.yaml"
	shopProject = "acme-shop"
	shopStack   = "stacks/gke.yaml"
)

// TestShopOnGKE has the sample's own document for GKE, regional and with a pool that scales, made, looked at and taken
// away. Its nodes are simulated: what only pods can answer for is left out here, and is in test/e2e.
func TestShopOnGKE(t *testing.T) {
	g := newGoogle(t)
	g.withoutPods()
	await := g.runFlux()
	doc := g.must("up", shopOnGKE)
	await()
	if doc.Result != "proven" {
		t.Fatalf("up: %s", doc.Result)
	}
	g.isAsDeclared()
	if again := g.must("up", shopOnGKE); again.Changes != 0 {
		t.Errorf("the second up made %d changes", again.Changes)
	}
	g.must("status", shopOnGKE)

	back := g.pauseFlux() // which would make it again
	if err := g.reach("gke-shop-gke").AppsV1().Deployments("shop").Delete(t.Context(), "frontend", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := g.run("status", shopOnGKE); code != 1 || !strings.Contains(out, "shop/frontend") {
		t.Errorf("status of a cluster without its front end: exit %d\n%s", code, out)
	}
	back()

	// The load balancer of the ingress and the claim of the database would stay in Google Cloud.
	if down := g.changes("down", "--yes", shopOnGKE); !slices.Contains(down, "release") || !slices.Contains(down, "delete") {
		t.Errorf("down changed %v", down)
	}
	if left := g.server.Left(); len(left) > 0 {
		t.Errorf("Google is left with %+v", left)
	}
	if again := g.must("down", shopOnGKE, "--yes"); again.Changes != 0 {
		t.Errorf("the second down made %d changes", again.Changes)
	}
	g.nothingLeft()
}

// withoutPods takes out of the sample what nobody answers for on simulated nodes: the operator with its webhook and all that is
// for it, and http checks. The charts come from the checkout.
func (g *google) withoutPods() {
	g.t.Helper()
	dev, err := config.Load(g.repo.Path("clusters/dev/cluster.yaml"))
	if err != nil {
		g.t.Fatal(err)
	}
	const registry = "oci://europe-west6-docker.pkg.dev/acme-shop/charts"
	for old, text := range map[string]string{
		"CHARTS: " + registry:                        "CHARTS: ../charts",
		"chart: " + registry + "/flux2":              "chart: ../../charts/flux2",
		"https://git.example.com/acme/shop.git":      dev.Cluster.Spec.Source.URL,
		`    - {http: "http://${INGRESS}/healthz", `: `    # - {`,
		`    - {http: "http://${INGRESS}/api/o`:      `    # - {`,
		`    - {http: "http://${INGRESS}/api/v1`:     `    # - {`,
	} {
		if err := g.repo.Replace(shopOnGKE, old, text); err != nil {
			g.t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(g.repo.Path(shopStack))
	if err != nil {
		g.t.Fatal(err)
	}
	stack := struct {
		config.Stack
		Releases []map[string]any `json:"releases"`
	}{}
	if err := yaml.Unmarshal(raw, &stack); err != nil {
		g.t.Fatal(err)
	}
	stack.Releases = slices.DeleteFunc(stack.Releases, func(r map[string]any) bool {
		return slices.Contains([]any{"prometheus-operator", "prometheus", "node-exporter", "rules"}, r["name"])
	})
	if raw, err = yaml.Marshal(stack); err != nil {
		g.t.Fatal(err)
	}
	g.commit(map[string]string{shopStack: string(raw)})
}

// runFlux runs Flux's controllers, whose pods are simulated, on this machine once they are deployed. The function waits
// until they run.
func (g *google) runFlux() (await func()) {
	ctx, cancel := context.WithTimeout(g.t.Context(), 3*time.Minute)
	var err error
	var group sync.WaitGroup
	group.Go(func() {
		err = wait.Poll(ctx, wait.Func("Flux's controllers run", g.controllers), 500*time.Millisecond, nil)
	})
	g.t.Cleanup(func() { cancel(); group.Wait() })
	return func() {
		g.t.Helper()
		group.Wait()
		if err != nil {
			g.t.Error(err)
		}
	}
}

// controllers starts them in the one cluster that is there, when that has their release.
func (g *google) controllers(ctx context.Context) (ok bool, detail string, err error) {
	provider, err := kwok.New(g.behind)
	if err != nil {
		return false, "", err
	}
	all, err := provider.List(ctx)
	if err != nil || len(all) != 1 || !all[0].Complete {
		return false, "no cluster", err
	}
	client, err := kubernetes.NewForConfig(all[0].REST)
	if err != nil {
		return false, "", err
	}
	f := flux.New(config.Flux{})
	deployed, err := client.AppsV1().Deployments(f.Release().Namespace).List(ctx, metav1.ListOptions{})
	if err != nil || len(deployed.Items) == 0 {
		return false, "not deployed", nil //nolint:nilerr // the API server may be about to start
	}
	_, err = provider.RunOnHost(ctx, all[0].Ref, f.HostProcesses(), nil)
	return err == nil, "", err
}

// pauseFlux has the controller that applies stand still in the one cluster that is there.
func (g *google) pauseFlux() (back func()) {
	g.t.Helper()
	provider, err := kwok.New(g.behind)
	if err != nil {
		g.t.Fatal(err)
	}
	all, err := provider.List(g.t.Context())
	if err != nil || len(all) != 1 {
		g.t.Fatal(all, err)
	}
	return pause(g.t, g.behind.State, all[0].Ref.Name, "kustomize-controller")
}

// isAsDeclared compares what GKE was asked for, and what runs in it, with the document.
func (g *google) isAsDeclared() {
	g.t.Helper()
	if out := g.call(0, "list", "--provider", "gke", "--project", shopProject); !strings.Contains(out, "shop-gke") {
		g.t.Errorf("the list is\n%s", out)
	}
	client := g.reach("gke-shop-gke")
	nodes, err := client.CoreV1().Nodes().List(g.t.Context(), metav1.ListOptions{LabelSelector: "cloud.google.com/gke-nodepool=default"})
	if err != nil {
		g.t.Fatal(err)
	}
	zones := map[string]bool{}
	for _, n := range nodes.Items {
		zones[n.Labels["topology.kubernetes.io/zone"]] = true
	}
	if len(nodes.Items) != 3 || len(zones) != 3 {
		g.t.Errorf("%d nodes in the zones %v, want one in each of three", len(nodes.Items), zones)
	}
	ingress, err := client.CoreV1().Services("ingress").Get(g.t.Context(), "skipper", metav1.GetOptions{})
	if err != nil || ingress.Spec.Type != "LoadBalancer" {
		g.t.Errorf("the ingress is %v, %v", ingress.Spec.Type, err)
	}
	claims, err := client.CoreV1().PersistentVolumeClaims("shop").List(g.t.Context(), metav1.ListOptions{})
	if err != nil || len(claims.Items) != 1 {
		g.t.Errorf("the claims are %v, %v", claims, err)
	}
}
