package helm_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// issuers has the server serve a kind of the space's own, and gives a chart with one object of it.
func (s *space) issuers(more map[string]string) *helm.Chart {
	s.Helper()
	crd := s.parse(fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: issuers.%[1]s.example.com}
spec:
  group: %[1]s.example.com
  scope: Namespaced
  names: {kind: Issuer, plural: issuers}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`, s.name))
	if _, err := s.client.EstablishCRDs(s.Context(), crd, nil); err != nil {
		s.Fatal(err)
	}
	files := map[string]string{"templates/issuer.yaml": "apiVersion: " + s.name + ".example.com/v1\nkind: Issuer\nmetadata: {name: issuer}\n" +
		"spec: {email: {{ .Values.color }}{{ if .Values.more }}, more: {{ .Values.more }}{{ end }}}\n"}
	for name, content := range more {
		files[name] = content
	}
	return chart(s, files)
}

// issuer is the spec of the custom resource of the space, patched before if there is a patch.
func (s *space) issuer(patch string) map[string]any {
	s.Helper()
	gvr := schema.GroupVersionResource{Group: s.name + ".example.com", Version: "v1", Resource: "issuers"}
	api := s.client.Dynamic().Resource(gvr).Namespace(s.name)
	obj, err := api.Get(s.Context(), "issuer", metav1.GetOptions{})
	if err == nil && patch != "" {
		obj, err = api.Patch(s.Context(), "issuer", types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "by-hand"})
	}
	if err != nil {
		s.Fatal(err)
	}
	spec, _, _ := unstructured.NestedMap(obj.Object, "spec")
	return spec
}

func TestAHandEditOfACustomResourceIsPutRight(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Chart: s.issuers(nil), Values: map[string]any{"color": "red"}}
	s.mustEnsure(r, plan.Changed)
	s.issuer(`{"spec":{"email":"mauve","extra":"kept"}}`)
	state := s.look(r, 1, "deployed")
	if len(state.Different) != 1 {
		t.Fatalf("differences: %v", state.Different)
	}
	if text := state.Different[0].String(); !strings.HasSuffix(text, "spec.email differs, owned by by-hand") {
		t.Errorf("it says %q", text)
	}
	s.mustEnsure(r, plan.Changed)
	if spec := s.issuer(""); spec["email"] != "red" || spec["extra"] != "kept" {
		t.Errorf("after: %v", spec)
	}
	if state := s.look(r, 2, "deployed"); !state.AsWanted() {
		t.Errorf("differences: %v", state.Different)
	}
}

// TestCorrectedValuesReachWhatAFailedInstallMade has the install fail after the custom resource is there.
func TestCorrectedValuesReachWhatAFailedInstallMade(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Chart: s.issuers(map[string]string{
		"templates/bad.yaml": "{{ if .Values.bad }}\napiVersion: v1\nkind: Service\nmetadata: {name: bad, annotations: {helm.sh/hook: post-install}}\nspec: {ports: [{port: 99999999}]}\n{{ end }}",
	}), Values: map[string]any{"color": "red", "more": "gone", "bad": true}}
	if _, _, err := s.ensure(r); err == nil || !strings.Contains(err.Error(), "99999999") {
		t.Fatalf("got %v", err)
	}
	if spec := s.issuer(""); spec["more"] != "gone" {
		t.Fatalf("the failed install made %v", spec)
	}
	r.Values = map[string]any{"color": "blue"}
	s.mustEnsure(r, plan.Changed)
	if spec := s.issuer(""); spec["email"] != "blue" || spec["more"] != nil {
		t.Errorf("after: %v", spec)
	}
}

// TestWhatIsAddedToAWholeIsTakenBack: Helm's merge leaves a key that somebody added to a selector, and no pod answers the Service.
func TestWhatIsAddedToAWholeIsTakenBack(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Values: map[string]any{"color": "red"}, Chart: chart(s, map[string]string{
		"templates/service.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n",
	})}
	s.mustEnsure(r, plan.Changed)
	services := s.client.Typed().CoreV1().Services(s.name)
	if _, err := services.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"selector":{"by":"hand"}}}`), metav1.PatchOptions{FieldManager: "by-hand"}); err != nil {
		t.Fatal(err)
	}
	if state := s.look(r, 1, "deployed"); len(state.Different) != 1 || !strings.Contains(state.Different[0].String(), "spec.selector") {
		t.Fatalf("differences: %v", state.Different)
	}
	s.mustEnsure(r, plan.Changed)
	service, err := services.Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil || len(service.Spec.Selector) != 1 {
		t.Errorf("it selects %v, %v", service.Spec.Selector, err)
	}
	if state := s.look(r, 2, "deployed"); len(state.Different) > 0 {
		t.Errorf("differences: %v", state.Different)
	}
	s.mustEnsure(r, plan.Unchanged)
}
