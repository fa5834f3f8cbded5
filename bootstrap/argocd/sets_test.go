package argocd_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// setKind is the CRD of ApplicationSets, as far as it matters here.
const setKind = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: applicationsets.argoproj.io}
spec:
  group: argoproj.io
  names: {kind: ApplicationSet, listKind: ApplicationSetList, plural: applicationsets, singular: applicationset}
  scope: Namespaced
  versions:
    - {name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

// madeBySet is an Application that an ApplicationSet has made.
const madeBySet = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: made
  namespace: sets
  ownerReferences: [{apiVersion: argoproj.io/v1alpha1, kind: ApplicationSet, name: apps, uid: UID, controller: true}]
spec:
  project: prod
  source: {repoURL: https://git.example.com/ops.git, path: app, targetRevision: refs/heads/main}
  destination: {server: https://kubernetes.default.svc}
  syncPolicy: {automated: {}}
`

func TestApplicationsOfAnApplicationSetAreFollowed(t *testing.T) {
	s := newStage(t, "sets")
	if _, err := s.client.EstablishCRDs(t.Context(), s.parse(setKind), nil); err != nil {
		t.Fatal(err)
	}
	set := kube.Ref{Group: "argoproj.io", Version: "v1alpha1", Kind: "ApplicationSet", Namespace: "sets", Name: "apps"}
	made := kube.Ref{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application", Namespace: "sets", Name: "made"}
	upToDate := func(status string) {
		patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"ResourcesUpToDate","status":%q,"message":"at work"}]}}`, status)
		if err := s.client.MergePatch(t.Context(), set, []byte(patch)); err != nil {
			t.Error(err)
		}
	}
	s.apply("apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: apps, namespace: sets, annotations: {" + byProd + "}}\nspec: {}\n")
	upToDate("False")
	s.point(true)
	s.says(strings.Replace(synced(newer), `{"version":"v1","kind":"Namespace","name":"default"}`,
		`{"group":"argoproj.io","version":"v1alpha1","kind":"ApplicationSet","namespace":"sets","name":"apps"}`, 1))
	if err := s.argo.Status(t.Context(), s.client, s.target); err == nil || !strings.Contains(err.Error(), "ApplicationSet sets/apps: at work") {
		t.Errorf("status of one that is at work: %v", err)
	}

	// The progress plays the controllers: each does its part when it is waited for.
	began, ended := false, false
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := s.argo.Sync(ctx, s.client, s.watcher, s.target, false, func(u plan.Update) {
		switch {
		case !began && strings.Contains(u.Waiting, set.String()):
			began = true
			obj, err := s.client.Get(ctx, set)
			if err != nil || obj == nil {
				t.Errorf("the set: %v", err)
				return
			}
			s.apply(strings.Replace(madeBySet, "UID", string(obj.GetUID()), 1))
			upToDate("True")
		case !ended && strings.Contains(u.Waiting, made.String()):
			ended = true
			s.tell(made, synced(newer))
		}
	})
	if err != nil || !began || !ended {
		t.Fatalf("%v, the set was awaited: %t, its Application: %t", err, began, ended)
	}
	if err := s.argo.Status(t.Context(), s.client, s.target); err != nil {
		t.Errorf("status: %v", err)
	}
	s.tell(made, strings.Replace(synced(newer), "Healthy", "Degraded", 1))
	if err := s.argo.Status(t.Context(), s.client, s.target); err == nil || !strings.Contains(err.Error(), made.String()) {
		t.Errorf("status of one that is degraded: %v", err)
	}
	s.removeWithSet(ctx, set, made)
}

// removeWithSet sees that an Application without the finalizer goes with its set, and that what it applied is named.
func (s *stage) removeWithSet(ctx context.Context, set, made kube.Ref) {
	s.Helper()
	play := make(chan struct{})
	go func() {
		defer close(play)
		s.once("deleted with its objects", func(obj *unstructured.Unstructured) bool { return obj.GetDeletionTimestamp() != nil }, `{}`)
		if err := s.client.Delete(ctx, []kube.Ref{set}, nil); err != nil {
			s.Error(err)
		}
		if err := s.client.MergePatch(ctx, s.app, []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
			s.Error(err)
		}
	}()
	warned := ""
	outcome, err := s.argo.Remove(ctx, s.client, s.watcher, reconciler.Before{}, func(u plan.Update) { warned += u.Warning })
	<-play
	if outcome != plan.Changed || err != nil || !strings.Contains(warned, made.String()) {
		s.Errorf("removed: %s, %v, warned %q", outcome, err, warned)
	}
	if obj, err := s.client.Get(ctx, made); err != nil || obj != nil {
		s.Errorf("%s is left (%v)", made, err)
	}
}
