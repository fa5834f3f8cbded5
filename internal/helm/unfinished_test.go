package helm_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// upgraded is a chart whose values "more" bring an object, and an environment variable and an annotation in others, and whose
// "bad" has its hook after an upgrade fail.
func (s *space) upgraded() helm.Release {
	s.Helper()
	return helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Chart: s.issuers(map[string]string{
		"templates/config.yaml": "{{ if not .Values.without }}\n" + configMap + "{{ end }}",
		"templates/more.yaml":   "{{ if .Values.more }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n---\n" + kept + "{{ end }}",
		"templates/web.yaml": strings.Replace(web, "image: example.com/web}",
			"image: example.com/web, env: [{name: A, value: a}{{ if .Values.more }}, {name: MORE, value: more}{{ end }}]}", 1),
		"templates/bad.yaml": "{{ if .Values.bad }}\napiVersion: v1\nkind: Service\n" +
			"metadata: {name: bad, annotations: {helm.sh/hook: {{ .Values.when | default \"post-upgrade\" }}}}\nspec: {ports: [{port: 99999999}]}\n{{ end }}",
	}), Values: map[string]any{"color": "red"}}
}

// env names the variables of the Deployment's container.
func (s *space) env() string {
	s.Helper()
	deployment, err := s.client.Typed().AppsV1().Deployments(s.name).Get(s.Context(), "app", metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	var names []string
	for _, v := range deployment.Spec.Template.Spec.Containers[0].Env {
		names = append(names, v.Name)
	}
	return strings.Join(names, " ")
}

func TestWhatAFailedUpgradeLeftIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(s *space, r helm.Release){
		"one that failed": func(*space, helm.Release) {},
		"two that failed": func(s *space, r helm.Release) {
			r.Values = map[string]any{"color": "red", "bad": true, "without": true}
			if _, _, err := s.ensure(r); err == nil {
				s.Fatal("no fault")
			}
		},
		"one that was killed": func(s *space, _ helm.Release) { s.setStatus(2, release.StatusPendingUpgrade) },
		"one that was killed at its end": func(s *space, _ helm.Release) {
			s.setStatus(1, release.StatusSuperseded)
			s.setStatus(2, release.StatusPendingUpgrade)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpace(t)
			r := s.upgraded()
			s.mustEnsure(r, plan.Changed)
			r.Values = map[string]any{"color": "blue", "more": "more", "bad": true}
			if _, _, err := s.ensure(r); err == nil || !strings.Contains(err.Error(), "99999999") {
				t.Fatalf("got %v", err)
			}
			if s.configMap("more") == nil || s.env() != "A MORE" || s.issuer("")["more"] != "more" {
				t.Fatal("the upgrade that failed made nothing")
			}
			leave(s, r)
			r.Values = map[string]any{"color": "red"}
			if _, _, err := s.ensure(r); err != nil {
				t.Fatal(err)
			}
			if s.configMap("more") != nil {
				t.Error("the object that only the failed upgrade wanted is still there")
			}
			if s.configMap("app-kept") == nil {
				t.Error("what asks to be kept is gone")
			}
			if env, spec := s.env(), s.issuer(""); env != "A" || spec["more"] != nil || spec["email"] != "red" || s.color() != "red" {
				t.Errorf("what it set is still there: env %s, issuer %v, color %s", env, spec, s.color())
			}
			s.mustEnsure(r, plan.Unchanged)
		})
	}
}

// TestWhatIsNoLongerTheReleasesIsLeft has somebody take over what a failed upgrade made.
func TestWhatIsNoLongerTheReleasesIsLeft(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := s.upgraded()
	s.mustEnsure(r, plan.Changed)
	r.Values = map[string]any{"color": "blue", "more": "more", "bad": true}
	if _, _, err := s.ensure(r); err == nil {
		t.Fatal("no fault")
	}
	s.patch("more", `{"metadata":{"annotations":{"meta.helm.sh/release-name":"other"}}}`)
	r.Values = map[string]any{"color": "red"}
	s.mustEnsure(r, plan.Changed)
	if s.configMap("more") == nil {
		t.Error("an object of another release is gone")
	}
}

// TestWhatAFailedUpgradeDidNotComeToIsMadeOnce has it fail before it makes anything.
func TestWhatAFailedUpgradeDidNotComeToIsMadeOnce(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := s.upgraded()
	s.mustEnsure(r, plan.Changed)
	r.Values = map[string]any{"color": "blue", "more": "more", "bad": true, "when": "pre-upgrade"}
	if _, _, err := s.ensure(r); err == nil || s.configMap("more") != nil {
		t.Fatalf("got %v", err)
	}
	since := time.Now()
	r.Values = map[string]any{"color": "red", "more": "more"}
	s.mustEnsure(r, plan.Changed)
	var verbs []string
	for _, w := range s.writes(since) {
		if strings.Contains(w.URI, "/configmaps/more") {
			verbs = append(verbs, w.Verb)
		}
	}
	if s.configMap("more") == nil || len(verbs) > 0 {
		t.Errorf("what it wanted is there: %v; and was changed again: %v", s.configMap("more") != nil, verbs)
	}
	s.mustEnsure(r, plan.Unchanged)
}

// TestAnInstallAfterARemovalIsOne also when it is tried again, and the removal was killed before Helm forgot the release.
func TestAnInstallAfterARemovalIsOne(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Values: map[string]any{"color": "red"}, Chart: chart(t, map[string]string{
		"templates/config.yaml": configMap,
		"templates/seed.yaml": "apiVersion: v1\nkind: ConfigMap\n" +
			"metadata: {name: seed-{{ .Values.color }}, annotations: {helm.sh/hook: post-install}}\n",
		"templates/bad.yaml": "{{ if .Values.bad }}\napiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 99999999}]}\n{{ end }}",
	})}
	s.mustEnsure(r, plan.Changed)
	s.patch("app", `{"metadata": {"finalizers": ["example.com/held"]}}`)
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	if _, err := helm.Remove(ctx, s.client, s.watcher, "app", s.name, time.Minute, func(u plan.Update) {
		if strings.Contains(u.Waiting, "example.com/held") {
			kill()
		}
	}); !errors.Is(err, context.Canceled) {
		t.Fatalf("while its ConfigMap is held: %v", err)
	}
	s.look(r, 1, "uninstalled")
	s.patch("app", `{"metadata": {"finalizers": null}}`)

	r.Values = map[string]any{"color": "blue", "bad": true}
	if _, _, err := s.ensure(r); err == nil {
		t.Fatal("no fault")
	}
	s.look(r, 2, "failed")
	r.Values = map[string]any{"color": "blue"}
	s.mustEnsure(r, plan.Changed)
	revision, _, _ := unstructured.NestedString(s.configMap("app").Object, "data", "revision")
	if s.configMap("seed-blue") == nil || revision != "install" {
		t.Errorf("it was an %s, and the hook ran: %t", revision, s.configMap("seed-blue") != nil)
	}
}
