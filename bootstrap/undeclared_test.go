package bootstrap

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/stacks"
)

// install puts two releases, of which one is in the documents, two keys, and Secrets that are no keys into a
// namespace of a cluster.
func install(t *testing.T, j *Job, namespace string) {
	t.Helper()
	docs, err := config.LoadFS(fstest.MapFS{
		"cluster.yaml": {Data: []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: left}\nspec: {provider: {kwok: {}}, stack: [{file: stack.yaml}]}\n")},
		"stack.yaml": {Data: []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Stack\nmetadata: {name: s}\nreleases:\n" +
			strings.ReplaceAll("- {name: web, namespace: NS, chart: ./app}\n- {name: old, namespace: NS, chart: ./app}\n- {name: foreign, namespace: NS, chart: ./app}\n", "NS", namespace))},
		"app/Chart.yaml": {Data: []byte("apiVersion: v2\nname: app\nversion: 1.0.0\n")},
		"app/templates/x.yaml": {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n---\n" +
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-kept, annotations: {helm.sh/resource-policy: keep}}\n")},
	}, "cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if j.stack, err = stacks.New(docs, nil, stacks.Options{Simulated: true}); err != nil {
		t.Fatal(err)
	}
	if err := j.stack.Fetch(t.Context(), stacks.NewFetcher(t.TempDir()), nil); err != nil {
		t.Fatal(err)
	}
	for _, r := range j.stack.Releases {
		if _, err := r.Ensure(t.Context(), j.client, j.watcher, nil); err != nil {
			t.Fatal(err)
		}
	}
	foreign := kube.Ref{Version: "v1", Kind: "Secret", Namespace: namespace, Name: "sh.helm.release.v1.foreign.v1"}
	if err := j.client.MergePatch(t.Context(), foreign, []byte(`{"metadata":{"labels":{"rekindle.dev/owner":null}}}`)); err != nil {
		t.Fatal(err)
	}
	j.stack.Releases = j.stack.Releases[:1]
	for _, name := range []string{"key", "old-key"} {
		j.secrets = append(j.secrets, keys.Secret{Name: name, Namespace: namespace, Type: config.DefaultSecretType, Data: map[string][]byte{"x": []byte("y")}})
	}
	if _, err := j.applySecrets(t.Context()); err != nil {
		t.Fatal(err)
	}
	j.docs.Cluster.Spec.Keys = []config.Key{{Name: "key", Namespace: namespace}}
}

// What rekindle installed goes only when it is asked to, and nothing else does.
func TestWhatIsNoLongerDeclaredIsToldAndPruned(t *testing.T) {
	const others = `apiVersion: v1
kind: Namespace
metadata: {name: left}
---
apiVersion: v1
kind: Secret
metadata: {name: of-a-team, namespace: left}
---
apiVersion: v1
kind: Secret
metadata: {name: of-a-mover, namespace: left, labels: {rekindle.dev/owner: rekindle, rekindle.dev/mover: "true"}}
---
apiVersion: v1
kind: Secret
metadata: {name: of-argocd, namespace: left, labels: {rekindle.dev/owner: rekindle, argocd.argoproj.io/secret-type: repository}}
---
apiVersion: v1
kind: Secret
metadata: {name: copy-of-a-key, namespace: left, labels: {rekindle.dev/owner: rekindle}}
`
	j := newLive(t, others)
	install(t, j, "left")
	exists := func(kind, name string) bool {
		t.Helper()
		obj, err := j.client.Get(t.Context(), kube.Ref{Version: "v1", Kind: kind, Namespace: "left", Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return obj != nil
	}
	_, err := j.compareUndeclared().Do(t.Context(), nil)
	var told []string
	for _, f := range fault.All(err) {
		told = append(told, f.Error()+" | "+strings.Join(fault.Hints(f), ""))
	}
	const says = ": installed by rekindle, not in the documents | rekindle up --prune removes it"
	if want := []string{"release left/old" + says, "Secret left/old-key" + says}; !slices.Equal(told, want) {
		t.Errorf("status tells %q, want %q", told, want)
	}
	for _, c := range []struct {
		prune    bool
		outcome  plan.Outcome
		warnings int
	}{{false, plan.Unchanged, 2}, {true, plan.Changed, 0}, {true, plan.Unchanged, 0}} {
		j.tools.Prune = c.prune
		var warned []string
		outcome, err := j.prune().Do(t.Context(), func(u plan.Update) {
			if u.Warning != "" {
				warned = append(warned, u.Warning)
			}
		})
		if outcome != c.outcome || err != nil || len(warned) != c.warnings {
			t.Errorf("prune %t: %s, %v, warned %q", c.prune, outcome, err, warned)
		}
		for _, gone := range [][2]string{{"ConfigMap", "old"}, {"Secret", "old-key"}} {
			if exists(gone[0], gone[1]) == c.prune {
				t.Errorf("prune %t: %v is there: %t", c.prune, gone, !c.prune)
			}
		}
	}
	for _, stays := range [][2]string{{"ConfigMap", "web"}, {"ConfigMap", "old-kept"}, {"ConfigMap", "foreign"}, {"Secret", "key"}, {"Secret", "of-a-team"}, {"Secret", "of-a-mover"}, {"Secret", "of-argocd"}, {"Secret", "copy-of-a-key"}} {
		if !exists(stays[0], stays[1]) {
			t.Errorf("%v was removed", stays)
		}
	}
}

// A reconciler may delete what it has applied when it goes, and somebody else may have taken that over.
func TestAReconcilerIsNotPruned(t *testing.T) {
	j := newLive(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: old-flux}\n")
	revision := kube.Ref{Version: "v1", Kind: "Secret", Namespace: "old-flux", Name: "sh.helm.release.v1.flux.v1"}
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1", "metadata": map[string]any{
		"name": revision.Name, "namespace": revision.Namespace,
		"labels": map[string]any{"owner": "helm", "name": "flux", "status": "deployed", "version": "1", "rekindle.dev/owner": "rekindle"},
	}}}
	if _, err := j.client.Apply(t.Context(), []*unstructured.Unstructured{obj}, kube.ApplyOptions{Manager: "test"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.client.Delete(context.WithoutCancel(t.Context()), []kube.Ref{revision}, nil); err != nil {
			t.Error(err)
		}
	})
	j.tools.Prune = true
	warned := ""
	if _, err := j.prune().Do(t.Context(), func(u plan.Update) { warned += u.Warning }); err != nil {
		t.Fatal(err)
	}
	if left, err := j.client.Get(t.Context(), revision); err != nil || left == nil || !strings.Contains(warned, "helm uninstall -n old-flux flux") {
		t.Errorf("it is there: %t (%v), warned %q", left != nil, err, warned)
	}
}

// A reconciler that left the documents goes on applying, beside the one that came for it: how it lets go is told.
func TestHowAReconcilerLetsGoIsTold(t *testing.T) {
	j := newFound(finder{})
	for name, told := range map[string]string{"flux": "deletionPolicy", "argocd": "finalizer", "web": "up --prune removes it"} {
		err := j.undeclaredFaults(undeclared{releases: []helm.Installed{{Name: name, Namespace: "x"}}})
		if hint := strings.Join(fault.Hints(err), ""); !strings.Contains(hint, told) || name != "web" && !strings.Contains(hint, "helm uninstall -n x "+name) {
			t.Errorf("%s: %q", name, hint)
		}
	}
}
