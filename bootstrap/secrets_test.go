package bootstrap

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// A Secret that somebody else made is not taken over, although it says the same: down would delete it.
func TestAKeyOfSomebodyElseIsRefused(t *testing.T) {
	j := newLive(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: theirs, namespace: default}\nstringData: {age.agekey: same}\n")
	data := keys.Data{"age.agekey": []byte("same")}
	j.secrets = []keys.Secret{{Name: "theirs", Namespace: "default", Type: config.DefaultSecretType, Data: data}, {Name: "ours", Namespace: "default", Type: config.DefaultSecretType, Data: data}}
	_, err := j.applySecrets(t.Context())
	if fault.KindOf(err) != fault.Refused || !strings.Contains(fault.Text(err), "Secret default/theirs: exists and was not made by rekindle") {
		t.Errorf("%v", err)
	}
	ref := kube.Ref{Version: "v1", Kind: "Secret", Namespace: "default", Name: "theirs"}
	if live, err := j.client.Get(t.Context(), ref); err != nil || len(live.GetLabels()) > 0 {
		t.Errorf("it was marked as ours: %v, %v", live.GetLabels(), err)
	}
	j.secrets = j.secrets[1:]
	defer func() { // other tests list what is ours in the cluster that they share
		if err := j.client.Typed().CoreV1().Secrets("default").Delete(t.Context(), "ours", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}()
	for _, want := range []plan.Outcome{plan.Changed, plan.Unchanged} {
		if got, err := j.applySecrets(t.Context()); got != want || err != nil {
			t.Errorf("our own: %v, %v, want %v", got, err, want)
		}
	}
	byHand := metav1.PatchOptions{FieldManager: "kubectl-edit"}
	if _, err := j.client.Typed().CoreV1().Secrets("default").Patch(t.Context(), "ours", types.MergePatchType, []byte(`{"data":{"age.agekey":"eA=="}}`), byHand); err != nil {
		t.Fatal(err)
	}
	if f, err := j.foreseeKeys(t.Context(), nil); f.Effect != plan.Change || err != nil {
		t.Errorf("changed by hand, foreseen: %+v, %v", f, err)
	}
	for _, want := range []plan.Outcome{plan.Changed, plan.Unchanged} {
		if got, err := j.applySecrets(t.Context()); got != want || err != nil {
			t.Errorf("changed by hand: %v, %v, want %v", got, err, want)
		}
	}
	j.secrets[0].Type = "example.com/other"
	for what, ask := range map[string]func() error{
		"up":     func() error { _, err := j.applySecrets(t.Context()); return err },
		"plan":   func() error { _, err := j.foreseeKeys(t.Context(), nil); return err },
		"status": func() error { return j.compareSecrets(t.Context()) },
	} {
		if err := ask(); fault.KindOf(err) != fault.Refused || !strings.Contains(fault.Text(err), "Secret default/ours: has the type Opaque, which cannot change, and should have example.com/other") {
			t.Errorf("%s of one of another type: %v", what, err)
		}
	}
}

// The key that opens the repository is used before the step that reads all keys: it is kept out of all output before that.
func TestTheKeyOfTheSourceIsHiddenBeforeItIsUsed(t *testing.T) {
	t.Setenv("OPS_TOKEN", "t0ken-of-ops")
	var hidden []string
	j := &Job{
		docs: &config.Documents{Cluster: &config.Cluster{Spec: config.ClusterSpec{
			Source: &config.Source{URL: "https://git.example.com/ops.git", Auth: &config.Auth{Secret: "git"}},
			Keys:   []config.Key{{Name: "git", From: config.KeySource{Env: map[string]string{"password": "OPS_TOKEN"}}}},
		}}},
		tools: Tools{Secret: func(value string) { hidden = append(hidden, value) }},
	}
	if remote, err := j.remote(t.Context()); err != nil || remote.Auth.Password != "t0ken-of-ops" {
		t.Fatal(err)
	}
	if !slices.Contains(hidden, "t0ken-of-ops") {
		t.Errorf("hidden are %d values", len(hidden))
	}
}
