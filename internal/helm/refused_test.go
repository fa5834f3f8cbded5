package helm_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// TestWhatCannotBeChangedIsToldByItsFields, and not as the server's text, which quotes the pod with its environment.
func TestWhatCannotBeChangedIsToldByItsFields(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Values: map[string]any{"secret": "one"}, Chart: chart(t, map[string]string{
		"templates/job.yaml": `
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: example.com/a, env: [{name: TOKEN, value: {{ .Values.secret }}}]}]}}}
`})}
	s.mustEnsure(r, plan.Changed)
	r.Values = map[string]any{"secret": "another-one"}
	_, _, err := s.ensure(r)
	if fault.KindOf(err) != fault.Failed {
		t.Fatal(err)
	}
	text := fault.Text(err)
	for _, want := range []string{"Job " + s.name + "/once", "spec.template: field is immutable", "kubectl delete job once -n " + s.name} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q: %s", want, text)
		}
	}
	if strings.Contains(text, "another-one") || strings.Contains(text, "TerminationGracePeriod") {
		t.Errorf("it quotes the pod: %s", text)
	}
}

// TestWhatCannotBeMadeIsNamed: the server does not say which object it is about.
func TestWhatCannotBeMadeIsNamed(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	_, _, err := s.ensure(helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Chart: chart(t, map[string]string{
		"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: numbers}\ndata: {one: 1}\n",
		"templates/b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: elsewhere, namespace: nowhere}\n",
	})})
	for _, want := range []string{"ConfigMap " + s.name + "/numbers: ", "ConfigMap nowhere/elsewhere: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say %q: %v", want, err)
		}
	}
}

// TestAChartThatMakesTheNamespaceOfItsRelease cannot be installed by Helm, which does not say why.
func TestAChartThatMakesTheNamespaceOfItsRelease(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := s.rendered(helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Chart: chart(t, map[string]string{
		"templates/a.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: {{ .Release.Namespace }}}\n",
	})})
	for range 2 { // the second finds what the first has left
		if _, _, err := s.ensure(r); !strings.Contains(fault.Text(err), "makes the namespace of the release itself") {
			t.Errorf("got %s", fault.Text(err))
		}
	}
}

// TestWhatIsNoObjectIsToldWithItsTemplate, of which a chart may have many.
func TestWhatIsNoObjectIsToldWithItsTemplate(t *testing.T) {
	_, err := chart(t, map[string]string{
		"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
		"templates/b.yaml": "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: b-}\n",
	}).Render("app", "app", "", nil, nil)
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "app/templates/b.yaml: ") || !strings.Contains(err.Error(), "no metadata.name") {
		t.Errorf("got %v", err)
	}
}

// TestAReleaseThatCannotBeRecordedIsRefused before anything is made.
func TestAReleaseThatCannotBeRecordedIsRefused(t *testing.T) {
	noise := func(most int) string {
		var b strings.Builder
		for i := 0; b.Len() < most; i++ {
			sum := sha256.Sum256([]byte(strconv.Itoa(i)))
			b.WriteString(hex.EncodeToString(sum[:])) // of which half is left, and base64 adds a third
		}
		return b.String()
	}
	render := func(most int) error {
		_, err := chart(t, map[string]string{"files/noise.txt": noise(most), "templates/a.yaml": configMap}).Render("app", "app", "", nil, nil)
		return err
	}
	if err := render(1 << 20); err != nil {
		t.Errorf("a large one: %v", err)
	}
	if err := render(2 << 20); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "too large") {
		t.Errorf("got %v", err)
	}
}
