//go:build argocd

package argocd_test

import (
	"maps"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// several is an Application of two sources: one of the followed repository, and one of another branch.
const several = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: inner, namespace: argocd}
spec:
  project: prod
  sources:
    - {repoURL: URL, path: app/inner, targetRevision: main, kustomize: {commonAnnotations: {version: "1"}}}
    - {repoURL: URL, path: app, targetRevision: settings}
    - {repoURL: URL, ref: values}
  destination: {name: in-cluster, namespace: shop}
  ignoreDifferences: [{kind: Secret, jsonPointers: [/data]}]
  syncPolicy: {automated: {prune: true}, retry: {limit: 0}, syncOptions: [CreateNamespace=true]}
`

// widgetKind is the CRD that an Application of the path lacks at first.
const widgetKind = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.nested.example.com}
spec:
  group: nested.example.com
  names: {kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}
  scope: Namespaced
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object}}}}}
`

// TestApplicationsInItOfArgoCDItself changes what an Application of the path is made from, in each way in which it can be.
func TestApplicationsInItOfArgoCDItself(t *testing.T) {
	l := newLab(t)
	l.commit(map[string]string{"settings.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"})
	l.git("branch", "settings")
	files := map[string]string{"kustomization.yaml": "resources: [ns.yaml, inner.yaml]\n", "ns.yaml": shop,
		"inner.yaml": strings.ReplaceAll(several, "repoURL: URL", "repoURL: "+l.target.Source.URL), "inner/kustomization.yaml": "resources: [more.yaml]\n", "inner/more.yaml": more}
	l.commit(files)
	l.mustUp(true, plan.Changed)
	l.mustUp(true, plan.Unchanged)
	l.is("of both sources", "settings", func(obj *unstructured.Unstructured) bool { return true })

	files["inner.yaml"] = strings.Replace(files["inner.yaml"], `version: "1"`, `version: "2"`, 1)
	l.commit(files)
	l.mustUp(true, plan.Changed)
	l.is("as a block of the Application has it", "more", func(obj *unstructured.Unstructured) bool { return obj.GetAnnotations()["version"] == "2" })

	files["inner/more.yaml"] = more + "data: {a: b}\n"
	l.commit(files)
	l.mustUp(true, plan.Changed)
	l.is("as the commit has it", "more", func(obj *unstructured.Unstructured) bool {
		a, _, _ := unstructured.NestedString(obj.Object, "data", "a")
		return a == "b"
	})

	lacking := maps.Clone(files)
	lacking["inner/more.yaml"] = "apiVersion: nested.example.com/v1\nkind: Widget\nmetadata: {name: one}\n"
	l.commit(lacking)
	l.failsEarly("Application argocd/inner", "nested.example.com")
	if _, err := l.client.EstablishCRDs(t.Context(), l.parse(widgetKind), nil); err != nil {
		t.Fatal(err)
	}
	l.mustUp(true, plan.Changed)
	l.mustUp(true, plan.Unchanged)
	l.commit(files)
	l.mustUp(true, plan.Changed)
	crd := kube.Ref{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition", Name: "widgets.nested.example.com"}
	if err := l.client.Delete(t.Context(), []kube.Ref{crd}, nil); err != nil {
		t.Error(err)
	}
}

// is wants a ConfigMap of the Application of the path to be as told.
func (l *lab) is(what, name string, is func(obj *unstructured.Unstructured) bool) {
	l.Helper()
	obj, err := l.client.Get(l.Context(), kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "shop", Name: name})
	if err != nil || obj == nil || !is(obj) {
		l.Errorf("%s is not %s: %v (%v)", name, what, obj, err)
	}
}
