package argocd_test

import (
	"context"
	"errors"
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

// lists is the status of an Application that has these objects, entries of JSON.
func lists(objects ...string) string {
	return strings.Replace(synced(newer), `{"version":"v1","kind":"Namespace","name":"default"}`, strings.Join(objects, ","), 1)
}

func going(obj *unstructured.Unstructured) bool { return obj.GetDeletionTimestamp() != nil }

// removed removes within half a minute, while the test plays the controller, which ends by letting the Application go.
func (s *stage) removed(before reconciler.Before, play func()) (warned string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		play()
		if err := s.client.MergePatch(ctx, s.app, []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
			s.Error(err)
		}
	}()
	outcome, err := s.argo.Remove(ctx, s.client, s.watcher, before, func(u plan.Update) { warned += u.Warning + "\n" })
	<-done
	if outcome != plan.Changed || err != nil {
		s.Errorf("removed: %s, %v", outcome, err)
	}
	return warned
}

// An Application lists what Git has as soon as it has compared, also where it has applied none of it: then it is somebody else's.
func TestWhatTheApplicationHasNotAppliedIsNotTouched(t *testing.T) {
	for name, c := range map[string]struct{ settings, mine, theirs string }{
		"annotation": {"{}", byProd, `annotations: {argocd.argoproj.io/tracking-id: "other:argoproj.io/Application:NS/inner"}`},
		"label":      {"{application.resourceTrackingMethod: label}", "", "labels: {app.kubernetes.io/instance: other}"},
		"id":         {"{installationID: mine}", "", "annotations: {" + byProd + "}"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, "theirs-"+name)
			s.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: argocd-cm, namespace: " + s.app.Namespace + "}\ndata: " + c.settings + "\n")
			s.apply("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: inner, namespace: " + s.app.Namespace + ", " +
				strings.Replace(c.theirs, "NS", s.app.Namespace, 1) + "}\nspec:\n  project: default\n  source: {repoURL: https://git.example.com/theirs.git, path: .}\n" +
				"  destination: {name: in-cluster}\n  syncPolicy: {automated: {}}\n")
			inner := kube.Ref{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application", Namespace: s.app.Namespace, Name: "inner"}
			s.point(false)
			s.says(lists(fmt.Sprintf(applicationEntry, s.app.Namespace, "OutOfSync")))
			before := s.version(inner)
			warned := s.removed(reconciler.Before{}, func() { s.once("deleted", going, `{}`) })
			if s.version(inner) != before || !strings.Contains(warned, inner.String()) {
				t.Errorf("it is written to, or not named: %q", warned)
			}
		})
	}
}

// As long as an operation goes on, Argo CD deletes nothing, and one that cannot come to its end is tried for ever.
func TestRemoveEndsTheOperationsThatGoOn(t *testing.T) {
	s, inner := withInner(t, "halting")
	if err := reconciler.Annotate(t.Context(), s.client, inner, map[string]string{"argocd.argoproj.io/tracking-id": "prod:"}); err != nil {
		t.Fatal(err)
	}
	for app, patch := range map[kube.Ref]string{
		s.app: `{"operation":{"sync":{}},"status":{"operationState":{"phase":"Running","message":"waiting for healthy state of apps/Deployment/web"}}}`,
		inner: `{"operation":{"sync":{}}}`, // asked for, and not begun
	} {
		if err := s.client.MergePatch(t.Context(), app, []byte(patch)); err != nil {
			t.Fatal(err)
		}
	}
	s.removed(reconciler.Before{}, func() {
		terminating := func(obj *unstructured.Unstructured) bool { return phase(obj) == "Terminating" }
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := s.watcher.Until(ctx, s.app, "told to end", func(obj *unstructured.Unstructured) kube.Health { return kube.Health{Ready: terminating(obj)} }, nil); err != nil {
			t.Error(err)
		}
		if err := s.client.MergePatch(t.Context(), s.app, []byte(`{"status":{"operationState":{"phase":"Running"}}}`)); err != nil { // as it was about to
			t.Error(err)
		}
		s.once("told again", terminating, `{"operationState":{"phase":"Failed"}}`)
		s.once("deleted", going, `{}`)
		obj, err := s.client.Get(t.Context(), inner)
		if err != nil || obj == nil || obj.Object["operation"] != nil {
			t.Errorf("it would sync before it goes: %v (%v)", obj, err)
			return
		}
		if err := s.client.MergePatch(t.Context(), inner, []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
			t.Error(err)
		}
		if err := s.client.Delete(t.Context(), []kube.Ref{inner}, nil); err != nil {
			t.Error(err)
		}
	})
}

// What Git has Argo CD keep is named, and not waited for.
func TestWhatArgoCDIsToldToKeepIsNamed(t *testing.T) {
	for name, c := range map[string]struct{ general, object string }{
		"helm":   {"[]", "helm.sh/resource-policy: keep"},
		"option": {"[]", `argocd.argoproj.io/sync-options: "Prune=false, Delete=false"`},
		"first":  {"[]", `argocd.argoproj.io/sync-options: "Delete=false,Delete=confirm"`},
		"app":    {`["Delete=false"]`, "a: b"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, "told-"+name)
			s.point(true)
			s.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stays, namespace: told-" + name + ", annotations: {" + c.object + ", " + byProd + "}}\n")
			if err := s.client.MergePatch(t.Context(), s.app, []byte(`{"spec":{"syncPolicy":{"syncOptions":`+c.general+`}}}`)); err != nil {
				t.Fatal(err)
			}
			s.says(lists(`{"version":"v1","kind":"ConfigMap","namespace":"told-` + name + `","name":"stays"}`))
			warned := s.removed(reconciler.Before{}, func() { s.once("deleted", going, `{}`) })
			if !strings.Contains(warned, "ConfigMap told-"+name+"/stays") {
				t.Errorf("it is not named: %q", warned)
			}
		})
	}
}

// What Git has Argo CD ask about would be waited for without a word.
func TestWhatIsToBeConfirmedIsTold(t *testing.T) {
	s := newStage(t, "confirm")
	s.point(true)
	s.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: dear, namespace: confirm, annotations: {argocd.argoproj.io/sync-options: Delete=confirm, " + byProd + "}}\n")
	s.says(lists(`{"version":"v1","kind":"ConfigMap","namespace":"confirm","name":"dear","requiresDeletionConfirmation":true}`))
	warned := s.removed(reconciler.Before{}, func() {
		s.once("deleted", going, `{}`)
		if err := s.client.Delete(t.Context(), []kube.Ref{{Version: "v1", Kind: "ConfigMap", Namespace: "confirm", Name: "dear"}}, nil); err != nil {
			t.Error(err)
		}
	})
	if !strings.Contains(warned, "ConfigMap confirm/dear only when that is confirmed: kubectl -n confirm annotate --overwrite applications.argoproj.io prod ") {
		t.Errorf("warned %q", warned)
	}
}

// Without its project Argo CD deletes nothing of an Application. One that others use stays.
func TestProjectsOfThePathGoLast(t *testing.T) {
	s := newStage(t, "projects")
	s.point(true)
	project := func(name string) kube.Ref {
		return kube.Ref{Group: "argoproj.io", Version: "v1alpha1", Kind: "AppProject", Namespace: "projects", Name: name}
	}
	var entries, seen []string
	for _, name := range []string{"team", "shared"} {
		s.apply("apiVersion: argoproj.io/v1alpha1\nkind: AppProject\nmetadata: {name: " + name + ", namespace: projects, annotations: {" + byProd + "}}\nspec: {}\n")
		entry := `{"group":"argoproj.io","version":"v1alpha1","kind":"AppProject","namespace":"projects","name":"` + name + `"`
		entries, seen = append(entries, entry+"}"), append(seen, entry+`,"requiresDeletionConfirmation":true}`)
	}
	s.apply("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: theirs, namespace: default}\nspec:\n  project: shared\n" +
		"  source: {repoURL: https://git.example.com/theirs.git, path: .}\n  destination: {name: in-cluster}\n")
	s.says(lists(entries...))
	warned := s.removed(reconciler.Before{}, func() {
		s.once("asked to look", looksAgain, lists(seen...))
		s.once("deleted", going, `{}`)
		if obj, err := s.client.Get(t.Context(), project("team")); err != nil || obj == nil || obj.GetAnnotations()["argocd.argoproj.io/sync-options"] != argocd.Mark {
			t.Errorf("Argo CD would delete it at once: %v (%v)", obj, err)
		}
	})
	for name, stays := range map[string]bool{"team": false, "shared": true} {
		obj, err := s.client.Get(t.Context(), project(name))
		if err != nil || (obj != nil) != stays || obj != nil && obj.GetAnnotations()["argocd.argoproj.io/sync-options"] != "" {
			t.Errorf("%s is %v (%v)", name, obj, err)
		}
	}
	if !strings.Contains(warned, "AppProject projects/shared") {
		t.Errorf("warned %q", warned)
	}
}

// A run that was ended has left marks, which the next one takes for its own, also where the Application is gone by then.
func TestMarksThatARunHasLeftAreTakenOff(t *testing.T) {
	s := newStage(t, "leftmark")
	s.point(true)
	namespace := kube.Ref{Version: "v1", Kind: "Namespace", Name: "marked"}
	entry := `{"version":"v1","kind":"Namespace","name":"marked"`
	s.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: marked, annotations: {argocd.argoproj.io/sync-options: \"" + argocd.Mark + ",Prune=false\"}}\n")
	s.says(lists(entry + "}"))
	s.removed(reconciler.Before{Namespaces: []string{"marked"}}, func() {
		s.once("asked to look", looksAgain, lists(entry+`}`)) // it has not seen it yet
		s.once("asked again", looksAgain, lists(entry+`,"requiresDeletionConfirmation":true}`))
		s.once("deleted", going, `{}`)
	})
	isOff := func() {
		t.Helper()
		obj, err := s.client.Get(t.Context(), namespace)
		if err != nil || obj == nil || obj.GetAnnotations()["argocd.argoproj.io/sync-options"] != "Prune=false" {
			t.Errorf("it is %v (%v)", obj, err)
		}
	}
	isOff()

	again := map[string]string{"argocd.argoproj.io/sync-options": argocd.Mark + ",Prune=false"}
	if err := reconciler.Annotate(t.Context(), s.client, namespace, again); err != nil {
		t.Fatal(err)
	}
	s.apply("apiVersion: argoproj.io/v1alpha1\nkind: AppProject\nmetadata: {name: last, namespace: leftmark, annotations: {argocd.argoproj.io/sync-options: \"" + argocd.Mark + "\"}}\nspec: {}\n")
	if outcome, err := s.argo.Remove(t.Context(), s.client, s.watcher, reconciler.Before{}, nil); outcome != plan.Changed || err != nil {
		t.Errorf("once more: %s, %v", outcome, err)
	}
	isOff()
	last := kube.Ref{Group: "argoproj.io", Version: "v1alpha1", Kind: "AppProject", Namespace: "leftmark", Name: "last"}
	if obj, err := s.client.Get(t.Context(), last); err != nil || obj != nil {
		t.Errorf("the project is left: %v (%v)", obj, err)
	}
}

// An Application that is on its way takes no finalizer any more, and needs none.
func TestAnApplicationThatIsOnItsWayIsLeftToGo(t *testing.T) {
	s, inner := withInner(t, "onitsway")
	patch := []byte(`{"metadata":{"finalizers":["post-delete-finalizer.argocd.argoproj.io/cleanup"],"annotations":{"argocd.argoproj.io/tracking-id":"prod:"}}}`)
	if err := s.client.MergePatch(t.Context(), inner, patch); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.client.Delete(short, []kube.Ref{inner}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	s.removed(reconciler.Before{}, func() {
		s.once("deleted", going, `{}`)
		if err := s.client.MergePatch(t.Context(), inner, []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
			t.Error(err)
		}
	})
}

// Without the Application nobody knows any more what it had applied, which would stay without a word.
func TestAnApplicationThatIsGoneIsTold(t *testing.T) {
	s := newStage(t, "gone")
	s.point(true)
	if err := s.client.Delete(t.Context(), []kube.Ref{s.app}, nil); err != nil {
		t.Fatal(err)
	}
	for run, told := range []bool{true, false} { // the second run finds nothing of it
		warned := ""
		_, err := s.argo.Remove(t.Context(), s.client, s.watcher, reconciler.Before{}, func(u plan.Update) { warned += u.Warning })
		if err != nil || strings.Contains(warned, "Application gone/prod is gone") != told {
			t.Errorf("run %d: warned %q (%v)", run, warned, err)
		}
	}
}

// Argo CD does not even let an Application go that it is not to look at.
func TestAnApplicationThatIsNotLookedAtGoes(t *testing.T) {
	s := newStage(t, "unlooked")
	s.point(true)
	const skip = "argocd.argoproj.io/skip-reconcile"
	if err := reconciler.Annotate(t.Context(), s.client, s.app, map[string]string{skip: "true"}); err != nil {
		t.Fatal(err)
	}
	s.removed(reconciler.Before{}, func() {
		s.once("deleted", func(obj *unstructured.Unstructured) bool { return going(obj) && obj.GetAnnotations()[skip] == "" }, `{}`)
	})
}
