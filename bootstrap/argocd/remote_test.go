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

// A hub leads to other clusters, which it does not take along when it goes, and whose objects are none of its own.
func TestWhatIsAppliedInAnotherClusterStays(t *testing.T) {
	s := newStage(t, "hub")
	if _, err := s.client.EstablishCRDs(t.Context(), s.parse(setKind), nil); err != nil {
		t.Fatal(err)
	}
	s.point(true)
	s.apply("apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: fleet, namespace: hub, annotations: {" + byProd + "}}\nspec: {}\n")
	set := kube.Ref{Group: "argoproj.io", Version: "v1alpha1", Kind: "ApplicationSet", Namespace: "hub", Name: "fleet"}
	obj, err := s.client.Get(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	status := strings.Replace(synced(newer), `"kind":"Namespace","name":"default"`, `"kind":"ConfigMap","namespace":"hub","name":"only-there"`, 1)
	remote := map[string]kube.Ref{}
	for name, more := range map[string]string{
		"by-name":   ", finalizers: [resources-finalizer.argocd.argoproj.io]|{name: prod-eu}",
		"by-server": "|{server: 'https://prod-eu.example.com'}",
		"of-set": ", finalizers: [resources-finalizer.argocd.argoproj.io/background], ownerReferences: " +
			"[{apiVersion: argoproj.io/v1alpha1, kind: ApplicationSet, name: fleet, uid: " + string(obj.GetUID()) + "}]|{name: prod-us}",
	} {
		metadata, destination, _ := strings.Cut(more, "|")
		s.apply(fmt.Sprintf("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: %s, namespace: hub, annotations: {"+byProd+"}%s}\nspec:\n"+
			"  project: prod\n  source: {repoURL: https://git.example.com/ops.git, path: app, targetRevision: refs/heads/main}\n"+
			"  destination: %s\n  syncPolicy: {automated: {}}\n", name, metadata, destination))
		remote[name] = kube.Ref{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application", Namespace: "hub", Name: name}
		s.tell(remote[name], status)
	}
	const entry = `{"group":"argoproj.io","version":"v1alpha1","kind":%q,"namespace":"hub","name":%q}`
	s.says(strings.Replace(synced(newer), `{"version":"v1","kind":"Namespace","name":"default"}`,
		fmt.Sprintf(entry+","+entry+","+entry, "Application", "by-name", "Application", "by-server", "ApplicationSet", "fleet"), 1))

	within, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.argo.Sync(within, s.client, s.watcher, s.target, false, nil); err != nil {
		t.Errorf("sync: %v", err)
	}
	if err := s.argo.Status(t.Context(), s.client, s.target); err != nil {
		t.Errorf("status: %v", err)
	}
	s.removeHub(within, set, remote)
}

// removeHub plays Argo CD, which deletes the Applications in the one that goes, and with them what they applied if it is told to.
func (s *stage) removeHub(ctx context.Context, set kube.Ref, remote map[string]kube.Ref) {
	s.Helper()
	play := make(chan struct{})
	go func() {
		defer close(play)
		s.once("deleted with its objects", func(obj *unstructured.Unstructured) bool { return obj.GetDeletionTimestamp() != nil }, `{}`)
		if automated(s.get()) {
			s.Error("the hub would put back what is changed in its Applications")
		}
		obj, err := s.client.Get(ctx, set)
		if err != nil || obj == nil {
			s.Errorf("the set: %v", err)
			return
		}
		if policy, _, _ := unstructured.NestedString(obj.Object, "spec", "syncPolicy", "applicationsSync"); policy != "create-delete" {
			s.Errorf("the set may change its Applications: %q", policy)
		}
		for name, ref := range remote {
			if obj, err := s.client.Get(ctx, ref); err != nil || obj == nil || len(obj.GetFinalizers()) > 0 {
				s.Errorf("%s: Argo CD deletes in the other cluster by %v (%v)", name, obj.GetFinalizers(), err)
			}
		}
		if err := s.client.Delete(ctx, []kube.Ref{set, remote["by-name"], remote["by-server"]}, nil); err != nil {
			s.Error(err)
		}
		if err := s.client.MergePatch(ctx, s.app, []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
			s.Error(err)
		}
	}()
	warned := ""
	outcome, err := s.argo.Remove(ctx, s.client, s.watcher, reconciler.Before{}, func(u plan.Update) { warned += u.Warning + "\n" })
	<-play
	if outcome != plan.Changed || err != nil {
		s.Errorf("removed: %s, %v", outcome, err)
	}
	for name, ref := range remote {
		if !strings.Contains(warned, ref.String()+" applied stays: it is applied in another cluster") {
			s.Errorf("%s is not named: %q", name, warned)
		}
	}
}
