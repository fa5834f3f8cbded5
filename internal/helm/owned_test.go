package helm_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// TestAReleaseThatIsRecordedElsewhereIsRefused has its objects as Flux leaves them, whose record is in another namespace.
func TestAReleaseThatIsRecordedElsewhereIsRefused(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := s.release(nil)
	s.makeNamespace(s.name)
	s.apply("helm-controller", `
apiVersion: v1
kind: ConfigMap
metadata:
  name: app
  namespace: NS
  labels: {app.kubernetes.io/managed-by: Helm}
  annotations: {meta.helm.sh/release-name: app, meta.helm.sh/release-namespace: NS}
data: {color: theirs}
`)
	since := time.Now()
	_, err := helm.Look(t.Context(), s.client, s.watcher, r)
	for name, err := range map[string]error{"look": err, "ensure": func() error { _, _, err := s.ensure(r); return err }()} {
		if fault.KindOf(err) != fault.Refused || len(fault.Hints(err)) == 0 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, text := range []string{"release " + s.name + "/app", "ConfigMap " + s.name + "/app", "recorded elsewhere", "HelmRelease of Flux", "storage driver"} {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: it does not say %q: %v", name, text, err)
			}
		}
	}
	if outcome, err := helm.Remove(t.Context(), s.client, s.watcher, "app", s.name, time.Minute, nil); outcome != plan.Unchanged || err != nil {
		t.Errorf("remove: %s, %v", outcome, err)
	}
	if writes := s.writes(since); len(writes) > 0 || s.color() != "theirs" {
		t.Errorf("it was touched: %v, color %s", writes, s.color())
	}
	s.patch("app", `{"metadata":{"annotations":{"helm.sh/resource-policy":"keep"}}}`) // as what an uninstalled release leaves
	s.mustEnsure(r, plan.Changed)
	s.mustEnsure(r, plan.Unchanged)
}

// TestAReleaseWhoseRecordIsLostIsMadeAgain: its objects are known by who wrote them.
func TestAReleaseWhoseRecordIsLostIsMadeAgain(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := s.release(nil)
	s.mustEnsure(r, plan.Changed)
	writers := s.configMap("app").GetManagedFields()
	if !slices.ContainsFunc(writers, func(w metav1.ManagedFieldsEntry) bool { return w.Manager == kube.Manager }) {
		t.Errorf("they are written by %v, whatever the program is called", writers)
	}
	for name := range s.revisions() {
		if err := s.client.Typed().CoreV1().Secrets(s.name).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	s.mustEnsure(r, plan.Changed)
	s.mustEnsure(r, plan.Unchanged)
}

// TestTheCopyOfARecordIsNoRelease: a restore into another namespace copies Secrets with their labels.
func TestTheCopyOfARecordIsNoRelease(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := s.release(nil)
	s.mustEnsure(r, plan.Changed)
	other := s.name + "-copy"
	s.makeNamespace(other)
	for name := range s.revisions() {
		record, err := s.client.Typed().CoreV1().Secrets(s.name).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		record.ObjectMeta = metav1.ObjectMeta{Name: name, Namespace: other, Labels: record.Labels}
		if _, err := s.client.Typed().CoreV1().Secrets(other).Create(t.Context(), record, metav1.CreateOptions{FieldManager: kube.Manager}); err != nil {
			t.Fatal(err)
		}
	}
	listed := map[string]bool{}
	installed, err := helm.List(t.Context(), s.client)
	for _, found := range installed {
		listed[found.Namespace+"/"+found.Name] = true
	}
	if err != nil || !listed[s.name+"/app"] || listed[other+"/app"] {
		t.Errorf("listed: %v, %v", installed, err)
	}
	copied := r
	copied.Namespace = other
	_, lookErr := helm.Look(t.Context(), s.client, s.watcher, copied)
	_, err = helm.Remove(t.Context(), s.client, s.watcher, "app", other, time.Minute, nil)
	for name, err := range map[string]error{"look": lookErr, "remove": err} {
		if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "release "+other+"/app") || !strings.Contains(err.Error(), "copy of that of release "+s.name+"/app") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.mustEnsure(r, plan.Unchanged)
}

func (s *space) makeNamespace(name string) {
	s.Helper()
	if _, err := s.client.Typed().CoreV1().Namespaces().Create(s.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
}

// apply applies objects as somebody else; NS stands for the namespace.
func (s *space) apply(manager, manifest string) []*unstructured.Unstructured {
	s.Helper()
	objs := s.parse(strings.ReplaceAll(manifest, "NS", s.name))
	if _, err := s.client.Apply(s.Context(), objs, kube.ApplyOptions{Manager: manager}); err != nil {
		s.Fatal(err)
	}
	return objs
}

// TestWhatATemplateLooksUpFirstIsNotTaken: a chart may leave alone what is there, and make it elsewhere.
func TestWhatATemplateLooksUpFirstIsNotTaken(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.makeNamespace(s.name)
	s.apply("somebody", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs, namespace: NS}\ndata: {of: somebody}\n")
	theirs := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs}\n"
	release := func(theirs string) helm.Release {
		return s.rendered(helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Values: map[string]any{"color": "red"}, Chart: chart(t, map[string]string{
			"templates/config.yaml": configMap, "templates/theirs.yaml": theirs,
		})})
	}
	if _, _, err := s.ensure(release(theirs)); fault.KindOf(err) != fault.Refused {
		t.Errorf("one that would take it: %v", err)
	}
	looks := release(`{{ if not (lookup "v1" "ConfigMap" .Release.Namespace "theirs") }}` + "\n" + theirs + "{{ end }}")
	s.mustEnsure(looks, plan.Changed)
	s.mustEnsure(looks, plan.Unchanged)
	s.remove(helm.Remove)
	if obj := s.configMap("theirs"); obj == nil || obj.GetAnnotations()["meta.helm.sh/release-name"] != "" {
		t.Errorf("it was taken: %v", obj)
	}
}
