//go:build argocd

package argocd_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

const heirlooms = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: heirlooms.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: heirlooms, singular: heirloom, kind: Heirloom}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`

// TestWhatWasThereBeforeOutlivesTheCascade: Argo CD sees in time that a namespace of others stays. It deletes no CRDs, which is not waited
// for.
func TestWhatWasThereBeforeOutlivesTheCascade(t *testing.T) {
	l := newLab(t)
	there := "apiVersion: v1\nkind: Namespace\nmetadata: {name: there}\n"
	l.apply(there)
	l.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs, namespace: there}\n")
	crd := kube.Ref{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition", Name: "heirlooms.example.com"}
	namespace := kube.Ref{Version: "v1", Kind: "Namespace", Name: "there"}
	t.Cleanup(func() {
		if err := l.client.Delete(context.WithoutCancel(t.Context()), []kube.Ref{crd, namespace}, nil); err != nil {
			t.Error(err)
		}
	})
	l.commit(map[string]string{"kustomization.yaml": "resources: [ns.yaml, there.yaml, crd.yaml]\n", "ns.yaml": shop, "there.yaml": there, "crd.yaml": heirlooms})
	l.mustUp(true, plan.Changed)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	warned := ""
	before := reconciler.Before{Namespaces: []string{"there"}}
	if outcome, err := l.argo.Remove(ctx, l.client, l.watcher, before, func(u plan.Update) { warned += u.Warning }); outcome != plan.Changed || err != nil {
		t.Fatalf("%s, %v", outcome, err)
	}
	for ref, stays := range map[kube.Ref]bool{
		crd: true, namespace: true, {Version: "v1", Kind: "ConfigMap", Namespace: "there", Name: "theirs"}: true, {Version: "v1", Kind: "Namespace", Name: "shop"}: false,
	} {
		obj, err := l.client.Get(ctx, ref)
		if err != nil || reconciler.Stands(obj) != stays {
			t.Errorf("%s is there: %t (%v)", ref, obj != nil, err)
		}
	}
	if !strings.Contains(warned, crd.String()) || !strings.Contains(warned, namespace.String()) {
		t.Errorf("warned %q", warned)
	}
}

// What was there before and is kept stays when a commit has it no more: Argo CD's own applies leave the mark.
func TestWhatIsKeptOutlivesItsLeavingGit(t *testing.T) {
	l := newLab(t)
	there := "apiVersion: v1\nkind: Namespace\nmetadata: {name: there}\n"
	l.apply(there)
	l.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: theirs, namespace: there}\n")
	namespace := kube.Ref{Version: "v1", Kind: "Namespace", Name: "there"}
	t.Cleanup(func() {
		if err := l.client.Delete(context.WithoutCancel(t.Context()), []kube.Ref{namespace}, nil); err != nil {
			t.Error(err)
		}
	})
	keeping := l.argo.Keeping()
	live, err := l.client.Get(t.Context(), namespace)
	if err == nil {
		err = keeping.Keep(t.Context(), l.client, live)
	}
	if err != nil {
		t.Fatal(err)
	}
	labelled := strings.Replace(there, "there}", "there, labels: {x: y}, annotations: {a: b}}", 1)
	for _, files := range []map[string]string{
		{"kustomization.yaml": "resources: [ns.yaml, there.yaml]\n", "there.yaml": there},
		{"kustomization.yaml": "resources: [ns.yaml, there.yaml]\n", "there.yaml": labelled},
		{"kustomization.yaml": "resources: [ns.yaml]\n"},
	} {
		files["ns.yaml"] = shop
		l.commit(files)
		l.mustUp(true, plan.Changed)
		live, err := l.client.Get(t.Context(), namespace)
		if err != nil || !reconciler.Stands(live) || keeping.Lacks(live) || !keeping.IsNoted(live) {
			t.Fatalf("it is not kept: %v (%v)", live, err)
		}
	}
	if err := reconciler.LetGo(t.Context(), l.client, live, keeping); err != nil {
		t.Error(err)
	}
	live, err = l.client.Get(t.Context(), namespace)
	if err != nil || live.GetAnnotations()["argocd.argoproj.io/sync-options"] != "" || reconciler.IsKept(live) {
		t.Errorf("it has kept the mark: %v (%v)", live, err)
	}
}
