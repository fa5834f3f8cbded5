//go:build argocd

package argocd_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// mustRemove takes everything away within a minute, and gives what was warned of.
func (l *lab) mustRemove(before reconciler.Before) (warned string) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	outcome, err := l.argo.Remove(ctx, l.client, l.watcher, before, func(u plan.Update) { warned += u.Warning + "\n" })
	if outcome != plan.Changed || err != nil {
		l.Fatalf("removed: %s, %v", outcome, err)
	}
	return warned
}

// has says whether an object is there.
func (l *lab) has(ref kube.Ref) bool {
	l.Helper()
	obj, err := l.client.Get(l.Context(), ref)
	if err != nil {
		l.Fatal(err)
	}
	return reconciler.Stands(obj)
}

// tidy deletes objects when the test has ended, the last first.
func (l *lab) tidy(refs ...kube.Ref) {
	l.Cleanup(func() {
		if err := l.client.Delete(context.WithoutCancel(l.Context()), refs, nil); err != nil {
			l.Error(err)
		}
	})
}

func configMap(namespace, name string) kube.Ref {
	return kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: namespace, Name: name}
}

// TestRemoveEndsAnOperationThatWaits: Argo CD deletes nothing as long as an operation goes on, and this one would for ever.
func TestRemoveEndsAnOperationThatWaits(t *testing.T) {
	l := newLab(t)
	l.commit(map[string]string{"ns.yaml": shop, "later.yaml": later,
		"web.yaml": strings.Replace(web, "spec: {containers", "spec: {nodeSelector: {no: where}, containers", 1)})
	l.point(true)
	applying, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := l.argo.Apply(applying, l.client, l.watcher, l.target, true, nil); err != nil {
		t.Fatal(err)
	}
	l.mustRemove(reconciler.Before{})
	if l.has(kube.Ref{Version: "v1", Kind: "Namespace", Name: "shop"}) {
		t.Error("what it applied is left")
	}
}

// TestWhatAnApplicationOfThatNameElsewhereAppliedIsNotPruned: by the name alone Argo CD takes it for its own, and prunes what Git does not have.
func TestWhatAnApplicationOfThatNameElsewhereAppliedIsNotPruned(t *testing.T) {
	l := newLab(t)
	l.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: theirs}\n")
	l.tidy(kube.Ref{Version: "v1", Kind: "Namespace", Name: "theirs"})
	l.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm, namespace: theirs, annotations: {argocd.argoproj.io/tracking-id: \"prod:/ConfigMap:theirs/cm\"}}\n")
	l.commit(map[string]string{"ns.yaml": shop})
	_, err := l.up(false)
	if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "ConfigMap theirs/cm") {
		t.Errorf("up: %v", err)
	}
	if !l.has(configMap("theirs", "cm")) {
		t.Fatal("it is pruned")
	}
}

// TestWhatWasNeverAppliedStaysAsItIs: an Application lists what Git has from the first comparison on, also where it is somebody else's.
func TestWhatWasNeverAppliedStaysAsItIs(t *testing.T) {
	l := newLab(t)
	theirs := strings.NewReplacer("name: inner", "name: theirs", "repoURL: URL", "repoURL: "+l.target.Source.URL, "project: prod", "project: nobody").Replace(inner)
	l.apply(theirs)
	ref := kube.Ref{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application", Namespace: "argocd", Name: "theirs"}
	l.tidy(ref)
	l.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
	l.tidy(kube.Ref{Version: "v1", Kind: "Namespace", Name: "shop"})
	l.commit(map[string]string{"kustomization.yaml": "resources: [ns.yaml, theirs.yaml]\n", "ns.yaml": shop, "theirs.yaml": theirs})
	l.point(false)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := l.argo.Follow(ctx, l.client, l.watcher, l.target, true, nil); err != nil {
		t.Fatal(err)
	}
	l.mustRemove(reconciler.Before{})
	obj, err := l.client.Get(t.Context(), ref)
	if err != nil || !reconciler.Stands(obj) || !automated(obj) || len(obj.GetFinalizers()) > 0 {
		t.Errorf("it is %v (%v)", obj, err)
	}
	if !l.has(kube.Ref{Version: "v1", Kind: "Namespace", Name: "shop"}) {
		t.Error("a namespace that was never applied is gone")
	}
}

const teamProject = `apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: team, namespace: argocd}
spec:
  sourceRepos: ["*"]
  destinations: [{server: "*", namespace: "*"}]
  clusterResourceWhitelist: [{group: "*", kind: "*"}]
`

// TestAProjectOfThePathOutlivesItsApplications: without it, Argo CD deletes nothing of an Application, and this one takes its time.
func TestAProjectOfThePathOutlivesItsApplications(t *testing.T) {
	l := newLab(t)
	slow := strings.Replace(more, "name: more", "name: more, finalizers: [example.com/slow]", 1)
	l.commit(map[string]string{"kustomization.yaml": "resources: [ns.yaml, team.yaml, inner.yaml]\n", "ns.yaml": shop, "team.yaml": teamProject,
		"inner.yaml":               strings.NewReplacer("repoURL: URL", "repoURL: "+l.target.Source.URL, "project: prod", "project: team").Replace(inner),
		"inner/more.yaml":          slow,
		"inner/kustomization.yaml": "resources: [more.yaml]\n"})
	l.mustUp(true, plan.Changed)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	play := make(chan struct{})
	go func() {
		defer close(play)
		going := func(obj *unstructured.Unstructured) kube.Health {
			return kube.Health{Ready: obj == nil || !reconciler.Stands(obj)}
		}
		if err := l.watcher.Until(ctx, configMap("shop", "more"), "going", going, nil); err != nil {
			t.Error(err)
			return
		}
		if err := l.client.MergePatch(ctx, configMap("shop", "more"), []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
			t.Error(err)
		}
	}()
	l.mustRemove(reconciler.Before{})
	<-play
	for _, ref := range []kube.Ref{{Group: "argoproj.io", Version: "v1alpha1", Kind: "AppProject", Namespace: "argocd", Name: "team"},
		{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application", Namespace: "argocd", Name: "inner"}, configMap("shop", "more")} {
		if l.has(ref) {
			t.Errorf("%s is left", ref)
		}
	}
}
