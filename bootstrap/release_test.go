package bootstrap_test

import (
	"os"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

// balanced is a cloud whose load balancers outlive a cluster.
type balanced struct{}

func (balanced) Outliving() []schema.GroupKind { return []schema.GroupKind{{Kind: "Service"}} }

const inSync = `apiVersion: v1
kind: Service
metadata: {name: front, namespace: default}
spec: {type: LoadBalancer, ports: [{port: 80}]}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: prod, namespace: default}
spec:
  project: default
  source: {repoURL: https://git.example.com/ops.git, path: app}
  destination: {}
  syncPolicy: {automated: {selfHeal: true}}
`

// atWork is what Argo CD writes into an Application that it applies just now.
const atWork = `{"status":{"operationState":{"phase":"Running","startedAt":"2026-01-01T00:00:00Z","operation":{}}}}`

// What Argo CD would make anew before the cluster goes, it is kept from making.
func TestArgoCDIsSuspendedBeforeBalancersGo(t *testing.T) {
	cluster := kwoktest.Shared(t)
	client, err := kube.Connect(cluster.REST)
	if err != nil {
		t.Fatal(err)
	}
	crd, err := os.ReadFile("../test/lab/charts/argo-cd/crds/argoproj.io_applications.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, manifest := range []string{string(crd), inSync} {
		objs, err := kube.ParseManifest([]byte(manifest))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Apply(t.Context(), objs, kube.ApplyOptions{Manager: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	ref := kube.Ref{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application", Namespace: "default", Name: "prod"}
	if err := client.MergePatch(t.Context(), ref, []byte(atWork)); err != nil {
		t.Fatal(err)
	}
	p := plan.New("test")
	outcome, err := p.Step(bootstrap.Release(p, balanced{}, cluster)).Do(t.Context(), nil)
	if outcome != plan.Changed || err != nil {
		t.Fatalf("%s, %v", outcome, err)
	}
	app, err := client.Get(t.Context(), ref)
	if err != nil || app == nil {
		t.Fatalf("the Application: %v", err)
	}
	phase, _, _ := unstructured.NestedString(app.Object, "status", "operationState", "phase")
	if _, automated, _ := unstructured.NestedMap(app.Object, "spec", "syncPolicy", "automated"); automated || phase != "Terminating" {
		t.Errorf("automated %t, its operation is %s", automated, phase)
	}
	if front, err := client.Get(t.Context(), kube.Ref{Version: "v1", Kind: "Service", Namespace: "default", Name: "front"}); err != nil || front != nil {
		t.Errorf("the balancer is left (%v)", err)
	}
}

// What the reconciler was about to apply when it was stopped comes after everything was looked for: it goes too.
func TestABalancerThatComesLateGoesToo(t *testing.T) {
	cluster := kwoktest.Shared(t)
	client, err := kube.Connect(cluster.REST)
	if err != nil {
		t.Fatal(err)
	}
	balancer := func(name, finalizers string) kube.Ref {
		objs, err := kube.ParseManifest([]byte("apiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: default, finalizers: [" + finalizers + "]}\n" +
			"spec: {type: LoadBalancer, ports: [{port: 80}]}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Apply(t.Context(), objs, kube.ApplyOptions{Manager: "test"}); err != nil {
			t.Error(err)
		}
		return kube.RefOf(objs[0])
	}
	early := balancer("early", "example.com/held")
	p := plan.New("test")
	var once sync.Once
	outcome, err := p.Step(bootstrap.Release(p, balanced{}, cluster)).Do(t.Context(), func(u plan.Update) {
		if u.Waiting == "" { // it has asked for what it found to go
			return
		}
		once.Do(func() {
			balancer("late", "")
			if err := client.MergePatch(t.Context(), early, []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
				t.Error(err)
			}
		})
	})
	if outcome != plan.Changed || err != nil {
		t.Fatalf("%s, %v", outcome, err)
	}
	for _, name := range []string{"early", "late"} {
		if left, err := client.Get(t.Context(), kube.Ref{Version: "v1", Kind: "Service", Namespace: "default", Name: name}); err != nil || left != nil {
			t.Errorf("%s is left (%v)", name, err)
		}
	}
}
