package repos

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

func quiet(plan.Update) {}

// TestAnAPIServerTakesEverything gives all objects of the sample to a real API server: those of every
// release with the stack's values, and those of every overlay. What dev says is then really made, and
// must become ready on simulated nodes.
func TestAnAPIServerTakesEverything(t *testing.T) {
	r := New(t)
	client := get[*kube.Client](t)(kube.Connect(kwoktest.Shared(t).REST))
	t.Cleanup(client.Close)
	objects := platform(t, r, client)
	for _, env := range []string{"test", "prod"} {
		for _, o := range overlay(t, r, env) {
			judge(t, client, env, o)
		}
	}
	objects = append(objects, overlay(t, r, "dev")...)
	changes, err := client.Apply(t.Context(), objects, kube.ApplyOptions{Manager: "test", Progress: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if len(changes) != len(objects) {
		t.Errorf("%d objects made of %d", len(changes), len(objects))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	watcher := client.Watch(ctx)
	defer watcher.Close()
	if err := watcher.Ready(ctx, kube.RefsOf(objects), quiet); err != nil {
		t.Error(err)
	}
}

// platform gives what the stack's releases install, judged by the server. A webhook and an
// aggregated API are only judged: nothing answers for them on simulated nodes.
func platform(t *testing.T, r *Repo, client *kube.Client) []*unstructured.Unstructured {
	t.Helper()
	d := get[*config.Documents](t)(config.Load(r.Path("clusters/dev/cluster.yaml")))
	flux := d.Cluster.Spec.Reconciler.Flux
	releases := append(d.Stacks[0].Releases, config.Release{Name: "flux", Namespace: flux.Namespace, Chart: "../charts/flux2"})
	var made, established []*unstructured.Unstructured
	for _, release := range releases {
		chart := get[*helm.Chart](t)(helm.Load(get[[]byte](t)(helm.Pack(os.DirFS(r.Path("stacks/"+release.Chart)), "."))))
		layers := []map[string]any{}
		for _, file := range release.ValuesFiles {
			layers = append(layers, get[map[string]any](t)(helm.ReadValues(get[[]byte](t)(os.ReadFile(r.Path("stacks/"+file))))))
		}
		values := helm.MergeValues(append(layers, release.Values)...)
		crds := get[[]*unstructured.Unstructured](t)(chart.CRDs(values))
		established = append(established, crds...)
		get[[]kube.Change](t)(client.EstablishCRDs(t.Context(), crds, quiet))
		namespace(t, client, release.Namespace)
		for _, o := range get[[]*unstructured.Unstructured](t)(chart.Render(release.Name, release.Namespace, "v1.37.2", values, established)) {
			judge(t, client, release.Name, o)
			if kind := o.GetKind(); kind != "ValidatingWebhookConfiguration" && kind != "APIService" {
				made = append(made, o)
			}
		}
	}
	return made
}

// overlay gives the objects of an environment. Its Secret goes with the values that SOPS encrypted.
func overlay(t *testing.T, r *Repo, env string) []*unstructured.Unstructured {
	t.Helper()
	rendered := get[*gitrepo.Rendered](t)(gitrepo.Render(t.Context(), os.DirFS(r.Dir), "overlays/"+env, gitrepo.Source{}))
	var objects []*unstructured.Unstructured
	for _, o := range rendered.Objects {
		delete(o, "sops")
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(get[[]byte](t)(json.Marshal(o))); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
	return objects
}

func namespace(t *testing.T, client *kube.Client, name string) {
	t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}}
	get[[]kube.Change](t)(client.Apply(t.Context(), []*unstructured.Unstructured{o}, kube.ApplyOptions{Manager: "test", Progress: quiet}))
}

// judge asks the server for a strict check of an object that it does not have yet. A namespace is really made.
func judge(t *testing.T, client *kube.Client, whose string, o *unstructured.Unstructured) {
	t.Helper()
	if o.GetKind() == "Namespace" {
		namespace(t, client, o.GetName())
		return
	}
	gvk := o.GroupVersionKind()
	mapping, err := client.Mapper().RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		t.Errorf("%s: %s %s: %v", whose, o.GetKind(), o.GetName(), err)
		return
	}
	resource := dynamic.ResourceInterface(client.Dynamic().Resource(mapping.Resource))
	if mapping.Scope.Name() == "namespace" {
		resource = client.Dynamic().Resource(mapping.Resource).Namespace(o.GetNamespace())
	}
	_, err = resource.Create(t.Context(), o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		t.Errorf("%s: %s %s: %v", whose, o.GetKind(), o.GetName(), err)
	}
}
