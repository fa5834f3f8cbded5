package argocd_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// applicationEntry is how a status lists an Application that is applied.
const applicationEntry = `{"group":"argoproj.io","version":"v1alpha1","kind":"Application","namespace":%q,"name":"inner","status":%q}`

// withInner is a stage on which the Application has applied another one that follows the same repository.
func withInner(t *testing.T, namespace string) (s *stage, inner kube.Ref) {
	t.Helper()
	s = newStage(t, namespace)
	s.point(true)
	inner = kube.Ref{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application", Namespace: namespace, Name: "inner"}
	s.applyInner("refs/heads/main")
	s.says(strings.Replace(synced(newer), `{"version":"v1","kind":"Namespace","name":"default"}`, fmt.Sprintf(applicationEntry, namespace, "Synced"), 1))
	return s, inner
}

func (s *stage) applyInner(ref string) {
	s.Helper()
	s.apply("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: inner, namespace: " + s.app.Namespace + "}\nspec:\n  project: prod\n" +
		"  source: {repoURL: https://git.example.com/ops.git, path: more, targetRevision: " + ref + "}\n  destination: {name: in-cluster}\n" +
		"  syncPolicy: {automated: {prune: true}, syncOptions: [CreateNamespace=true]}\n")
}

// gaveUp is the status of one whose sync Argo CD does not try again.
func gaveUp(reason string) string {
	status := strings.Replace(synced(newer), `"phase":"Succeeded"`, `"phase":"Failed","message":"one or more objects failed to apply (retried 5 times)."`, 1)
	status = strings.Replace(status, `{"status":"Synced"`, `{"status":"OutOfSync"`, 1)
	return strings.Replace(status, `"syncResult":{`, `"syncResult":{"resources":[{"group":"example.com","version":"v1","kind":"Database","namespace":"shop","name":"db","status":"SyncFailed","message":"`+reason+`"}],`, 1)
}

// isAsked says whether an Application is asked to sync, and wants it to be asked as it would itself.
func (s *stage) isAsked(obj *unstructured.Unstructured) bool {
	operation, found, _ := unstructured.NestedMap(obj.Object, "operation", "sync")
	if found && (operation["prune"] != true || fmt.Sprint(operation["syncOptions"]) != "[CreateNamespace=true]") {
		s.Errorf("it is asked for %v", operation)
	}
	return found
}

func (s *stage) sync(p plan.Progress) (plan.Outcome, error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	return s.argo.Sync(ctx, s.client, s.watcher, s.target, false, p)
}

// played has the controller of an Application do something once that is as awaited, while the test syncs.
func (s *stage) played(app kube.Ref, is func(obj *unstructured.Unstructured) bool, statuses ...string) (done chan struct{}) {
	done = make(chan struct{})
	of := *s
	of.app = app
	go func() {
		defer close(done)
		for _, status := range statuses {
			of.once("asked", is, status)
		}
	}()
	return done
}

func TestAnApplicationOfThePathThatGaveUpIsAskedToTryAgain(t *testing.T) {
	s, inner := withInner(t, "again")
	s.tell(inner, gaveUp("Database is invalid: no such kind")) // an answer of that would be the end
	done := s.played(inner, s.isAsked, synced(newer))
	outcome, err := s.sync(nil)
	<-done
	if outcome != plan.Changed || err != nil {
		t.Errorf("%s, %v", outcome, err)
	}
	before := s.version(inner)
	outcome, err = s.sync(nil)
	if outcome != plan.Unchanged || err != nil || s.version(inner) != before {
		t.Errorf("all is well: %s, %v, written: %t", outcome, err, s.version(inner) != before)
	}
}

func (s *stage) version(ref kube.Ref) string {
	s.Helper()
	obj, err := s.client.Get(s.Context(), ref)
	if err != nil || obj == nil {
		s.Fatalf("%s: %v", ref, err)
	}
	return obj.GetResourceVersion()
}

// One that lacked what another one brings is asked once more when that is there; what then fails is not waited for.
func TestAnApplicationOfThePathThatGivesUpAgainFailsWithTheReason(t *testing.T) {
	s, inner := withInner(t, "giveup")
	s.tell(inner, gaveUp("no matches for kind Database"))
	done := s.played(inner, s.isAsked, gaveUp("no matches for kind Database"), gaveUp("the server rejected it"))
	_, err := s.sync(nil)
	<-done
	if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Database shop/db: the server rejected it") {
		t.Errorf("%v", err)
	}
}

func TestAnApplicationOfThePathThatIsNotAtTheCommitIsAskedToLook(t *testing.T) {
	s, inner := withInner(t, "innerlook")
	for name, c := range map[string]struct {
		ref, status, want string
		outcome           plan.Outcome
	}{
		"one of the same branch":    {"refs/heads/main", synced(older), "normal", plan.Changed},
		"one of the default branch": {"HEAD", synced(older), "normal", plan.Unchanged},
		"one that could not be rendered": {"refs/heads/main", `{"sync":{"status":"Unknown","revision":"` + newer + `",COMPARED},"health":{"status":"Healthy"},"conditions":[{"type":"ComparisonError","message":"kustomize build failed (cached)"}]}`,
			"hard", plan.Changed},
	} {
		s.applyInner(c.ref)
		s.tell(inner, strings.Replace(c.status, `"health"`, `"conditions":null,"health"`, 1))
		if strings.Contains(c.status, "ComparisonError") {
			s.tell(inner, c.status)
		}
		asked := func(obj *unstructured.Unstructured) bool {
			return obj.GetAnnotations()["argocd.argoproj.io/refresh"] == c.want
		}
		done := s.played(inner, asked, strings.Replace(synced(newer), `"health"`, `"conditions":null,"health"`, 1))
		outcome, err := s.sync(nil)
		<-done
		if outcome != c.outcome || err != nil {
			t.Errorf("%s: %s, %v", name, outcome, err)
		}
	}
}

func TestWhyAnApplicationOfThePathIsNotAppliedIsTold(t *testing.T) {
	s := newStage(t, "whynot")
	s.point(true)
	waits := strings.Replace(waiting(newer), `"operationState"`, `"resources":[`+fmt.Sprintf(applicationEntry, "whynot", "OutOfSync")+`],"operationState"`, 1)
	refused := strings.Replace(waits, `"syncResult":{`, `"syncResult":{"resources":[`+strings.Replace(fmt.Sprintf(applicationEntry, "whynot", "SyncFailed"), `"name"`, `"message":"MESSAGE","name"`, 1)+`],`, 1)
	for _, c := range []struct{ says, status string }{ // in this order: what an operation said of objects stays in the status
		{"waiting for healthy state of apps/Deployment/web", waits},
		{`Application whynot/inner: namespaces "x" is forbidden: no permission`, strings.Replace(refused, "MESSAGE", `namespaces \"x\" is forbidden: no permission`, 1)},
	} {
		s.says(c.status)
		told := errors.New("it is told")
		ctx, stop := context.WithCancelCause(t.Context())
		within, cancel := context.WithTimeout(ctx, 30*time.Second)
		_, err := s.argo.Sync(within, s.client, s.watcher, s.target, false, func(u plan.Update) {
			if strings.Contains(u.Waiting, c.says) {
				stop(told)
			}
		})
		cancel()
		if !errors.Is(context.Cause(ctx), told) {
			t.Errorf("%q is not told: %v", c.says, err)
		}
		stop(nil)
	}
	s.says(strings.Replace(refused, "MESSAGE", `Application.argoproj.io \"inner\" is invalid: spec.source: must be an object`, 1))
	if _, err := s.sync(nil); err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "must be an object") {
		t.Errorf("one that never will be: %v", err)
	}
}

// An ApplicationSet that rolls its Applications out step by step takes automated away from them, and syncs them itself.
func TestApplicationsThatAreRolledOutStepByStepAreAwaited(t *testing.T) {
	s := newStage(t, "rolling")
	if _, err := s.client.EstablishCRDs(t.Context(), s.parse(setKind), nil); err != nil {
		t.Fatal(err)
	}
	s.point(true)
	s.apply("apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: apps, namespace: rolling}\nspec: {strategy: {type: RollingSync}}\n")
	set := kube.Ref{Group: "argoproj.io", Version: "v1alpha1", Kind: "ApplicationSet", Namespace: "rolling", Name: "apps"}
	status := `{"status":{"conditions":[{"type":"ResourcesUpToDate","status":"True"}],"applicationStatus":[{"application":"made","step":"1","status":"Waiting"}]}}`
	if err := s.client.MergePatch(t.Context(), set, []byte(status)); err != nil {
		t.Fatal(err)
	}
	obj, err := s.client.Get(t.Context(), set)
	if err != nil || obj == nil {
		t.Fatal(err)
	}
	made := kube.Ref{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application", Namespace: "rolling", Name: "made"}
	s.apply(strings.NewReplacer("namespace: sets", "namespace: rolling", "UID", string(obj.GetUID()), "automated: {}", "automated: {enabled: false}").Replace(madeBySet))
	s.tell(made, strings.Replace(synced(newer), `{"status":"Synced"`, `{"status":"OutOfSync"`, 1))
	s.says(strings.Replace(synced(newer), `{"version":"v1","kind":"Namespace","name":"default"}`,
		`{"group":"argoproj.io","version":"v1alpha1","kind":"ApplicationSet","namespace":"rolling","name":"apps"}`, 1))
	if err := s.argo.Status(t.Context(), s.client, s.target); err == nil || !strings.Contains(err.Error(), made.String()) {
		t.Errorf("status of one that has not begun: %v", err)
	}
	awaited, warned := false, ""
	_, err = s.sync(func(u plan.Update) {
		warned += u.Warning
		if !awaited && strings.Contains(u.Waiting, made.String()) {
			awaited = true
			s.tell(made, synced(newer))
		}
	})
	if err != nil || !awaited || warned != "" {
		t.Errorf("%v, awaited %t, warned %q", err, awaited, warned)
	}
	if err := s.argo.Status(t.Context(), s.client, s.target); err != nil {
		t.Errorf("status: %v", err)
	}
}

func TestWhatGitHasNoMoreAndTheApplicationLeavesIsNamed(t *testing.T) {
	s, inner := withInner(t, "extra")
	s.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old, namespace: extra}\n")
	if err := s.client.MergePatch(t.Context(), inner, []byte(`{"spec":{"syncPolicy":{"automated":{"prune":false}}}}`)); err != nil {
		t.Fatal(err)
	}
	status := strings.Replace(synced(newer), `{"status":"Synced"`, `{"status":"OutOfSync"`, 1)
	s.tell(inner, strings.Replace(status, `{"version":"v1","kind":"Namespace","name":"default"}`,
		`{"version":"v1","kind":"ConfigMap","namespace":"extra","name":"old","status":"OutOfSync","requiresPruning":true}`, 1))
	warned := ""
	outcome, err := s.sync(func(u plan.Update) { warned += u.Warning })
	if outcome != plan.Unchanged || err != nil || strings.Count(warned, "ConfigMap extra/old is in Git no more") != 1 {
		t.Errorf("%s, %v, warned %q", outcome, err, warned)
	}
}

// One whose project comes beside it could not compare at first, and would look again only at its interval.
func TestAnApplicationThatCouldNotCompareIsAskedWhenTheOthersAreThere(t *testing.T) {
	s, inner := withInner(t, "stalled")
	failed := `{"sync":{"status":"Unknown"},"health":{"status":"Unknown"},"conditions":[{"type":"InvalidSpecError","message":"Application referencing project team which does not exist"}]}`
	s.tell(inner, failed)
	asked := func(obj *unstructured.Unstructured) bool {
		return obj.GetAnnotations()["argocd.argoproj.io/refresh"] == "hard"
	}
	done := s.played(inner, asked, failed, strings.Replace(synced(newer), `"health"`, `"conditions":null,"health"`, 1)) // before the project is there, and after
	outcome, err := s.sync(nil)
	<-done
	if outcome != plan.Changed || err != nil {
		t.Errorf("%s, %v", outcome, err)
	}
}

// One that does not heal itself is at the commit, and leaves what somebody changed by hand: no other comparison has it apply that again.
func TestAnApplicationThatDoesNotHealItselfIsAskedToApplyAgain(t *testing.T) {
	s, inner := withInner(t, "drifted")
	drifted := strings.Replace(synced(newer), `{"status":"Synced"`, `{"status":"OutOfSync"`, 1)
	s.tell(inner, strings.Replace(drifted, `"name":"default"`, `"name":"default","status":"OutOfSync"`, 1))
	done := s.played(inner, s.isAsked, synced(newer))
	outcome, err := s.sync(nil)
	<-done
	if outcome != plan.Changed || err != nil {
		t.Errorf("%s, %v", outcome, err)
	}
}

// Argo CD looks only at Applications of the namespaces that it is told, and says nothing of others.
func TestAnApplicationThatArgoCDDoesNotLookAtIsTold(t *testing.T) {
	s := newStage(t, "looksat")
	s.point(true)
	s.apply("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: elsewhere, namespace: default}\nspec:\n  project: prod\n" +
		"  source: {repoURL: https://git.example.com/ops.git, path: more}\n  destination: {name: in-cluster}\n  syncPolicy: {automated: {}}\n")
	s.says(lists(`{"group":"argoproj.io","version":"v1alpha1","kind":"Application","namespace":"default","name":"elsewhere","status":"Synced"}`))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	told := false
	_, err := s.argo.Sync(ctx, s.client, s.watcher, s.target, false, func(u plan.Update) {
		if strings.Contains(u.Waiting, "application.namespaces") {
			told = true
			stop()
		}
	})
	if err == nil || !told {
		t.Errorf("%v, told %t", err, told)
	}
}
