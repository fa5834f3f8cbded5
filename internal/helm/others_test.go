package helm_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

const scaler = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: app}
spec: {minReplicas: 2, maxReplicas: 9, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: app}}
`

// scale is the number of replicas of the Deployment, set before if there is a patch of it.
func (s *space) scale(patch string) int32 {
	s.Helper()
	api := s.client.Typed().AppsV1().Deployments(s.name)
	deployment, err := api.Get(s.Context(), "app", metav1.GetOptions{})
	if err == nil && patch != "" {
		deployment, err = api.Patch(s.Context(), "app", types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "scaler"})
	}
	if err != nil {
		s.Fatal(err)
	}
	return *deployment.Spec.Replicas
}

func TestWhatAnAutoscalerScalesIsItsOwn(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Values: map[string]any{"color": "red"}, Chart: chart(t, map[string]string{
		"templates/web.yaml":    strings.Replace(web, "spec:\n", "spec:\n  {{ if ne .Values.color \"green\" }}replicas: 1{{ end }}\n", 1),
		"templates/config.yaml": configMap,
		"templates/scaler.yaml": "{{ if eq .Values.color \"blue\" \"green\" }}" + scaler + "{{ end }}",
	})}
	s.mustEnsure(r, plan.Changed)
	s.scale(`{"spec":{"replicas":3}}`)
	state := s.look(r, 1, "deployed")
	if len(state.Different) != 1 || !strings.HasSuffix(state.Different[0].String(), "spec.replicas differs, owned by scaler") {
		t.Fatalf("without an autoscaler: %v", state.Different)
	}
	r.Values = map[string]any{"color": "blue"} // which brings one
	s.mustEnsure(r, plan.Changed)
	if got := s.scale(""); got != 3 {
		t.Errorf("the upgrade scaled it to %d", got)
	}
	s.scale(`{"spec":{"replicas":4}}`)
	s.mustEnsure(r, plan.Unchanged)
	s.scale(`{"spec":{"replicas":0}}`) // where it stands still
	if state := s.look(r, 2, "deployed"); len(state.Different) != 1 {
		t.Errorf("scaled to nothing by hand: %v", state.Different)
	}
	s.scale(`{"spec":{"replicas":4}}`)
	r.Values = map[string]any{"color": "green"} // whose Deployment says nothing of replicas any more
	s.mustEnsure(r, plan.Changed)
	if got := s.scale(""); got != 4 {
		t.Errorf("the upgrade that says nothing scaled it to %d", got)
	}
	s.mustEnsure(r, plan.Unchanged)
}

func TestIgnoredFieldsAreNeitherComparedNorSet(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	noted := strings.Replace(web, "metadata: {name: {{ .Release.Name }}}", "metadata: {name: app, annotations: {example.com/a.b: x}}", 1)
	r := helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Values: map[string]any{"color": "red"}, Chart: chart(t, map[string]string{
		"templates/web.yaml": noted, "templates/config.yaml": configMap,
	})}
	s.mustEnsure(r, plan.Changed)
	s.scale(`{"metadata":{"annotations":{"example.com/a.b":"y"}},"spec":{"template":{"spec":{"containers":[{"name":"web","image":"example.com/other"}]}}}}`)
	if state := s.look(r, 1, "deployed"); len(state.Different) != 1 {
		t.Fatalf("differences: %v", state.Different)
	}
	r.Ignore = []helm.Ignored{
		{Kind: "Deployment", Path: "spec.template.spec.containers.*.image"},
		{Kind: "Deployment", Name: "app", Path: "metadata.annotations.example.com/a.b"},
		{Kind: "ConfigMap", Name: "other", Path: "data.color"},
	}
	s.mustEnsure(r, plan.Unchanged)
	s.patch("app", `{"data":{"color":"mauve"}}`) // which is not ignored
	s.mustEnsure(r, plan.Changed)
	deployment, err := s.client.Typed().AppsV1().Deployments(s.name).Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if image, note := deployment.Spec.Template.Spec.Containers[0].Image, deployment.Annotations["example.com/a.b"]; image != "example.com/other" || note != "y" || s.color() != "red" {
		t.Errorf("image %s, annotation %s, color %s", image, note, s.color())
	}
}
