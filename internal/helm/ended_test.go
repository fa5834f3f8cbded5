package helm_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

func TestAJobThatEndedAndIsGoneIsNotRunAgain(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Values: map[string]any{"color": "red"}, Chart: chart(t, map[string]string{
		"templates/config.yaml": configMap,
		"templates/jobs.yaml":   job("seed", "ttlSecondsAfterFinished: 600, ") + "---\n" + job("stays", ""),
	})}
	s.mustEnsure(r, plan.Changed)
	remove := func(name string) {
		t.Helper()
		background := metav1.DeletePropagationBackground
		if err := s.client.Typed().BatchV1().Jobs(s.name).Delete(t.Context(), name, metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
			t.Fatal(err)
		}
	}
	remove("seed")
	if state := s.look(r, 1, "deployed"); len(state.Different) != 1 || !strings.HasSuffix(state.Different[0].String(), "/seed: missing") {
		t.Errorf("nobody has seen how it ended: %v", state.Different)
	}
	if err := helm.RecordEnded(t.Context(), s.client, r, 1); err != nil {
		t.Fatal(err)
	}
	if ended, revision, err := helm.JobsEnded(s.client, r); !ended || revision != 1 || err != nil {
		t.Errorf("%t, %d, %v", ended, revision, err)
	}
	s.mustEnsure(r, plan.Unchanged) // which waits for what it names
	if state := s.look(r, 1, "deployed"); !state.AsWanted() || len(state.Objects) != 2 {
		t.Errorf("%+v", state)
	}
	remove("stays")
	if state := s.look(r, 1, "deployed"); len(state.Different) != 1 || !strings.HasSuffix(state.Different[0].String(), "/stays: missing") {
		t.Errorf("differences: %v", state.Different)
	}
	s.mustEnsure(r, plan.Changed)
	if ended, revision, err := helm.JobsEnded(s.client, r); ended || revision != 2 || err != nil {
		t.Errorf("the next revision: %t, %d, %v", ended, revision, err)
	}
}

func job(name, field string) string {
	return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: " + name + "}\n" +
		"spec: {" + field + "template: {spec: {restartPolicy: Never, containers: [{name: main, image: example.com/main}]}}}\n"
}
