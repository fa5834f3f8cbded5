package argocd_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/argocd"
	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// looksAgain says whether an Application is asked to compare once more.
func looksAgain(obj *unstructured.Unstructured) bool {
	return obj.GetAnnotations()["argocd.argoproj.io/refresh"] == "normal"
}

// What was there before says that it stays when Argo CD deletes the Application, also what Git has no more, and is as it was afterwards. The
// Application is deleted when Argo CD has seen it. CRDs stay in any case.
func TestWhatWasThereBeforeStays(t *testing.T) {
	s := newStage(t, "keeping")
	s.point(true)
	s.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: there}\n---\n" +
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: there-too, annotations: {argocd.argoproj.io/sync-options: Prune=false}}\n")
	s.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: there-kept}\n")
	live, err := s.client.Get(t.Context(), kube.Ref{Version: "v1", Kind: "Namespace", Name: "there-kept"}) // by up
	if err == nil {
		err = s.argo.Keeping().Keep(t.Context(), s.client, live)
	}
	if err != nil {
		t.Fatal(err)
	}
	const crd = "applications.argoproj.io" // any that is there
	status := strings.Replace(synced(newer), `{"version":"v1","kind":"Namespace","name":"default"}`, `{"version":"v1","kind":"Namespace","name":"there"},`+
		`{"version":"v1","kind":"Namespace","name":"there-kept"},`+
		`{"version":"v1","kind":"Namespace","name":"there-too","requiresPruning":true},`+
		`{"group":"apiextensions.k8s.io","version":"v1","kind":"CustomResourceDefinition","name":"`+crd+`"}`, 1)
	s.says(status)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	options := func(name string) string {
		obj, err := s.client.Get(ctx, kube.Ref{Version: "v1", Kind: "Namespace", Name: name})
		if err != nil || !reconciler.Stands(obj) {
			t.Errorf("namespace %s: %v", name, err)
			return ""
		}
		return obj.GetAnnotations()["argocd.argoproj.io/sync-options"]
	}
	play := make(chan struct{})
	go func() {
		defer close(play)
		looked := strings.ReplaceAll(status, `"Namespace",`, `"Namespace","requiresDeletionConfirmation":true,`)
		s.once("asked to look", looksAgain, looked)
		s.once("deleted with its objects", func(obj *unstructured.Unstructured) bool { return obj.GetDeletionTimestamp() != nil }, `{}`)
		if told := options("there") + " " + options("there-too") + " " + options("there-kept"); told !=
			argocd.Mark+" "+argocd.Mark+",Prune=false "+argocd.Mark+",Delete=false,Prune=false" {
			t.Errorf("Argo CD is told %q", told)
		}
		if err := s.client.MergePatch(ctx, s.app, []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
			t.Error(err)
		}
	}()
	warned := ""
	before := reconciler.Before{Namespaces: []string{"there", "there-too", "there-kept"}}
	outcome, err := s.argo.Remove(ctx, s.client, s.watcher, before, func(u plan.Update) { warned += u.Warning + "\n" })
	<-play
	if outcome != plan.Changed || err != nil {
		t.Fatalf("%s, %v", outcome, err)
	}
	if left := fmt.Sprintf("%q %q %q", options("there"), options("there-too"), options("there-kept")); left != `"" "Prune=false" "Delete=false,Prune=false"` {
		t.Errorf("afterwards they have %s", left)
	}
	for _, told := range []string{"it was there before: Namespace there, Namespace there-kept, Namespace there-too\n", "Argo CD deletes no CRDs: CustomResourceDefinition " + crd} {
		if !strings.Contains(warned, told) {
			t.Errorf("not told: %s; warned %q", told, warned)
		}
	}
}
