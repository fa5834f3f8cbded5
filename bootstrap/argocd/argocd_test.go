package argocd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/argocd"
	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

const (
	older = "aa52f2dd0e6dcf44c1f37d89e50432b2ec01519e"
	newer = "1d52f2dd0e6dcf44c1f37d89e50432b2ec01519e"
)

// byProd is the annotation by which Argo CD knows what the Application has applied, as far as it counts.
const byProd = `argocd.argoproj.io/tracking-id: "prod:"`

// stage is an API server with Argo CD's own CRDs, on which the test plays its controller; make e2e-argocd has the real one.
type stage struct {
	*testing.T
	client  *kube.Client
	watcher *kube.Watcher
	argo    *argocd.ArgoCD
	app     kube.Ref
	target  reconciler.Target
}

func newStage(t *testing.T, namespace string) *stage {
	t.Helper()
	client, err := kube.Connect(kwoktest.Shared(t).REST)
	if err != nil {
		t.Fatal(err)
	}
	watcher := client.Watch(t.Context())
	t.Cleanup(watcher.Close)
	s := &stage{
		T: t, client: client, watcher: watcher, argo: argocd.New(config.ArgoCD{Namespace: namespace}, "prod", time.Minute),
		app:    kube.Ref{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application", Namespace: namespace, Name: "prod"},
		target: reconciler.Target{Source: config.Source{URL: "https://git.example.com/ops.git", Path: "app"}, Commit: newer},
	}
	files, err := filepath.Glob("../../test/lab/charts/argo-cd/crds/*.yaml")
	if err != nil || len(files) != 2 {
		t.Fatalf("the CRDs are %v (%v)", files, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.EstablishCRDs(t.Context(), s.parse(string(raw)), nil); err != nil {
			t.Fatal(err)
		}
	}
	s.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: " + namespace + "}\n")
	return s
}

func (s *stage) parse(manifest string) []*unstructured.Unstructured {
	s.Helper()
	objs, err := kube.ParseManifest([]byte(manifest))
	if err != nil {
		s.Fatal(err)
	}
	return objs
}

func (s *stage) apply(manifest string) {
	s.Helper()
	if _, err := s.client.Apply(s.Context(), s.parse(manifest), kube.ApplyOptions{Manager: "test"}); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) point(path bool) plan.Outcome {
	s.Helper()
	outcome, err := s.argo.Point(s.Context(), s.client, s.target, path)
	if err != nil {
		s.Fatal(err)
	}
	return outcome
}

func (s *stage) get() *unstructured.Unstructured {
	s.Helper()
	obj, err := s.client.Get(s.Context(), s.app)
	if err != nil || obj == nil {
		s.Fatalf("no Application: %v", err)
	}
	return obj
}

// says has the Application tell a status, as the controller writes it: of the present spec, and with no request left.
func (s *stage) says(status string) {
	s.Helper()
	s.tell(s.app, status)
}

// tell is says of any Application of this source.
func (s *stage) tell(app kube.Ref, status string) {
	s.Helper()
	status = strings.ReplaceAll(status, "COMPARED", `"comparedTo":`+s.comparedTo(app))
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"argocd.argoproj.io/refresh":null}},"operation":null,"status":%s}`, status)
	if err := s.client.MergePatch(s.Context(), app, []byte(patch)); err != nil {
		s.Error(err)
	}
}

// comparedTo is what Argo CD says of which spec it has compared: the present one of an Application.
func (s *stage) comparedTo(app kube.Ref) string {
	s.Helper()
	obj, err := s.client.Get(s.Context(), app)
	if err != nil || obj == nil {
		s.Errorf("%s: %v", app, err)
		return "{}"
	}
	spec, to := obj.Object["spec"].(map[string]any), map[string]any{}
	for _, field := range []string{"source", "sources", "destination", "ignoreDifferences"} {
		if spec[field] != nil {
			to[field] = spec[field]
		}
	}
	raw, err := json.Marshal(to)
	if err != nil {
		s.Error(err)
	}
	return string(raw)
}

// once plays the controller: when the Application is as awaited, it says what follows.
func (s *stage) once(what string, is func(obj *unstructured.Unstructured) bool, status string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	judge := func(obj *unstructured.Unstructured) kube.Health { return kube.Health{Ready: obj != nil && is(obj)} }
	if err := s.watcher.Until(ctx, s.app, what, judge, nil); err != nil {
		s.Error(err)
		return
	}
	s.says(status)
}

func refreshed(obj *unstructured.Unstructured) bool {
	return obj.GetAnnotations()["argocd.argoproj.io/refresh"] == "hard"
}

func automated(obj *unstructured.Unstructured) bool {
	_, found, _ := unstructured.NestedMap(obj.Object, "spec", "syncPolicy", "automated")
	return found
}

func synced(commit string) string {
	return `{"sync":{"status":"Synced","revision":"` + commit + `",COMPARED},"health":{"status":"Healthy"},"operationState":{"phase":"Succeeded",` +
		`"startedAt":"2026-01-01T00:00:00Z","operation":{},"syncResult":{"revision":"` + commit + `"}},"resources":[{"version":"v1","kind":"Namespace","name":"default"}]}`
}

func TestPointingWaitsForNothingAndTakesNothingBack(t *testing.T) {
	s := newStage(t, "pointing")
	if outcome := s.point(false); outcome != plan.Changed || automated(s.get()) {
		t.Errorf("first, without the path: %s, automated %t", outcome, automated(s.get()))
	}
	if outcome := s.point(false); outcome != plan.Unchanged {
		t.Errorf("once more: %s", outcome)
	}
	if outcome := s.point(true); outcome != plan.Changed || !automated(s.get()) {
		t.Errorf("with the path: %s, automated %t", outcome, automated(s.get()))
	}
	if outcome := s.point(false); outcome != plan.Unchanged || !automated(s.get()) {
		t.Errorf("later, without the path: %s, automated %t", outcome, automated(s.get()))
	}
	if err := s.client.MergePatch(t.Context(), s.app, []byte(`{"metadata":{"labels":{"rekindle.dev/owner":null}}}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.argo.Point(t.Context(), s.client, s.target, true); fault.KindOf(err) != fault.Refused {
		t.Errorf("one that somebody else made: %v", err)
	}
}

func TestWhatIsNotAtTheCommitIsAskedToLook(t *testing.T) {
	s := newStage(t, "looking")
	s.point(true)
	s.says(synced(older))
	play := make(chan struct{})
	go func() {
		defer close(play)
		s.once("asked to look", refreshed, synced(newer))
	}()
	outcome, err := s.argo.Sync(t.Context(), s.client, s.watcher, s.target, false, nil)
	<-play
	if outcome != plan.Changed || err != nil {
		t.Errorf("%s, %v", outcome, err)
	}
	outcome, err = s.argo.Sync(t.Context(), s.client, s.watcher, s.target, false, nil)
	if outcome != plan.Unchanged || err != nil || refreshed(s.get()) {
		t.Errorf("once more: %s, %v", outcome, err)
	}
	if err := s.argo.Status(t.Context(), s.client, s.target); err != nil {
		t.Errorf("status: %v", err)
	}
	for name, ask := range map[string]func(context.Context, *kube.Client) (string, error){"applied": s.argo.Applied, "attempted": s.argo.Attempted} {
		if commit, err := ask(t.Context(), s.client); commit != newer || err != nil {
			t.Errorf("%s: %s, %v", name, commit, err)
		}
	}
}

// waiting is the status of one whose operation on a commit waits.
func waiting(commit string) string {
	return `{"sync":{"status":"OutOfSync","revision":"` + commit + `",COMPARED},"health":{"status":"Progressing"},"operationState":{"phase":"Running",` +
		`"startedAt":"2026-01-01T00:00:00Z","message":"waiting for healthy state of apps/Deployment/web","operation":{},"syncResult":{"revision":"` + commit + `"}}}`
}

func phase(obj *unstructured.Unstructured) string {
	phase, _, _ := unstructured.NestedString(obj.Object, "status", "operationState", "phase")
	return phase
}

// An operation that ends while it is to be ended keeps its own end: nothing would take away the phase that it is given, and it
// would be waited for in vain.
func TestOnlyAnOperationThatGoesOnIsEnded(t *testing.T) {
	s := newStage(t, "going")
	s.point(true)
	s.says(waiting(older))
	read := s.get()
	for _, c := range []struct{ now, want string }{
		{synced(older), "Succeeded"}, {waiting(newer), "Running"}, {strings.Replace(waiting(older), "/web", "/api", 1), "Terminating"},
	} {
		s.says(c.now)
		told, err := s.argo.EndAsRead(t.Context(), s.client, read, newer)
		if got := phase(s.get()); err != nil || got != c.want || told != (got == "Terminating") {
			t.Errorf("it is %s, want %s, told %t, %v", got, c.want, told, err)
		}
	}
}

func TestAnOperationThatWaitsForAnotherCommitIsEnded(t *testing.T) {
	s := newStage(t, "ending")
	s.point(true)
	s.says(waiting(older))
	play := make(chan struct{})
	go func() {
		defer close(play)
		s.once("told to end", func(obj *unstructured.Unstructured) bool { return phase(obj) == "Terminating" }, `{"operationState":{"phase":"Failed","message":"Operation terminated"}}`)
		s.once("asked to sync", func(obj *unstructured.Unstructured) bool {
			revision, _, _ := unstructured.NestedString(obj.Object, "operation", "sync", "revision")
			return refreshed(obj) && revision == newer
		}, synced(newer))
	}()
	outcome, err := s.argo.Sync(t.Context(), s.client, s.watcher, s.target, false, nil)
	<-play
	if outcome != plan.Changed || err != nil {
		t.Errorf("%s, %v", outcome, err)
	}
}

func TestStatusTellsEachDifference(t *testing.T) {
	s := newStage(t, "telling")
	status := func(want ...string) {
		t.Helper()
		err := s.argo.Status(t.Context(), s.client, s.target)
		for _, text := range want {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("status does not say %q: %v", text, err)
			}
		}
	}
	status("Application telling/prod: missing", "AppProject telling/prod: missing", "Secret telling/rekindle-repository: missing")
	s.point(true)
	s.says(`{"sync":{"status":"Unknown","revision":"` + newer + `",COMPARED},"conditions":[{"type":"ComparisonError","message":"rpc error: code = Unknown desc = repository not found"}]}`)
	status("Application telling/prod: ComparisonError: repository not found")
	s.says(strings.Replace(synced(newer), `"kind":"Namespace","name":"default"`, `"kind":"ConfigMap","namespace":"telling","name":"gone"`, 1))
	status("ConfigMap telling/gone")
	if err := s.client.MergePatch(t.Context(), s.app, []byte(`{"spec":{"syncPolicy":{"automated":null},"source":{"path":"other"}}}`)); err != nil {
		t.Fatal(err)
	}
	status("suspended", "spec.source.path is not as declared")
	s.point(true)
	s.says(synced(newer))
	if err := s.client.MergePatch(t.Context(), s.app, []byte(`{"spec":{"syncPolicy":{"automated":{"prune":true,"selfHeal":false}}}}`)); err != nil {
		t.Fatal(err)
	}
	status("spec.syncPolicy.automated.selfHeal is not as declared")
}

// Automation that is switched off, and not taken away, is switched on again.
func TestAnApplicationThatIsSwitchedOffIsSwitchedOn(t *testing.T) {
	s := newStage(t, "switched")
	s.point(true)
	if err := s.client.MergePatch(t.Context(), s.app, []byte(`{"spec":{"syncPolicy":{"automated":{"enabled":false}}}}`)); err != nil {
		t.Fatal(err)
	}
	s.point(true)
	if enabled, _, _ := unstructured.NestedBool(s.get().Object, "spec", "syncPolicy", "automated", "enabled"); !enabled {
		t.Error("it stays switched off")
	}
}

// shared is the status of an Application that would take an object from another one.
const shared = `{"sync":{"status":"OutOfSync","revision":"` + newer + `",COMPARED},"health":{"status":"Healthy"},"resources":null,` +
	`"conditions":[{"type":"SharedResourceWarning","message":"ConfigMap/web is part of applications argocd/prod and theirs"}]}`

// What an Application that has applied nothing would prune, another one of its name has applied.
func TestWhatAnotherApplicationOfTheNameAppliedIsNotPruned(t *testing.T) {
	s := newStage(t, "strangers")
	s.point(false)
	s.says(`{"sync":{"status":"OutOfSync","revision":"` + newer + `",COMPARED},"health":{"status":"Healthy"},"resources":[` +
		`{"version":"v1","kind":"ConfigMap","namespace":"theirs","name":"web","status":"OutOfSync","requiresPruning":true}]}`)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := s.argo.Sync(ctx, s.client, s.watcher, s.target, false, nil)
	if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "ConfigMap theirs/web") || automated(s.get()) {
		t.Errorf("%v, it syncs: %t", err, automated(s.get()))
	}
	if _, err := s.argo.Foresee(t.Context(), s.client, s.target, true); fault.KindOf(err) != fault.Refused {
		t.Errorf("foreseen: %v", err)
	}
	s.says(strings.Replace(shared, "COMPARED", `"comparedTo":`+s.comparedTo(s.app), 1))
	done, warned := make(chan struct{}), ""
	go func() {
		defer close(done)
		s.once("told to apply", automated, synced(newer))
	}()
	_, err = s.argo.Sync(ctx, s.client, s.watcher, s.target, true, func(u plan.Update) { warned += u.Warning })
	<-done
	if err != nil || strings.Count(warned, "ConfigMap/web is part of applications argocd/prod and theirs: Application strangers/prod takes it over") != 1 {
		t.Errorf("%v, warned %q", err, warned)
	}
	if err := s.client.MergePatch(t.Context(), s.app, []byte(`{"spec":{"syncPolicy":{"automated":null}}}`)); err != nil {
		t.Fatal(err)
	}
	s.says(strings.Replace(synced(newer), `"name":"default"`, `"name":"default","requiresPruning":true`, 1)) // it has applied something: that is its own
	if _, err := s.argo.Foresee(t.Context(), s.client, s.target, true); err != nil {
		t.Errorf("foreseen: %v", err)
	}
	if err := s.argo.Status(t.Context(), s.client, s.target); err == nil || !strings.Contains(err.Error(), "suspended") {
		t.Errorf("status: %v", err)
	}
}

// An Application that Git does not have sync by itself is named, and neither awaited nor judged.
func TestAnApplicationThatDoesNotSyncByItselfIsNotAwaited(t *testing.T) {
	s := newStage(t, "manual")
	s.apply("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: inner, namespace: manual}\nspec:\n  project: prod\n" +
		"  source: {repoURL: https://git.example.com/ops.git, path: app, targetRevision: refs/heads/main}\n  destination: {server: https://kubernetes.default.svc}\n")
	s.point(true)
	s.says(strings.Replace(synced(newer), `{"version":"v1","kind":"Namespace","name":"default"}`,
		`{"group":"argoproj.io","version":"v1alpha1","kind":"Application","namespace":"manual","name":"inner"}`, 1))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	warned := ""
	_, err := s.argo.Sync(ctx, s.client, s.watcher, s.target, false, func(u plan.Update) { warned += u.Warning })
	if err != nil || !strings.Contains(warned, "Application manual/inner is not proven") {
		t.Errorf("%v, warned %q", err, warned)
	}
	if err := s.argo.Status(t.Context(), s.client, s.target); err != nil {
		t.Errorf("status: %v", err)
	}
}

func TestRemoveHasArgoCDDeleteWhatItApplied(t *testing.T) {
	s := newStage(t, "removing")
	s.point(true)
	s.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied, namespace: removing, annotations: {" + byProd + "}}\n---\n" +
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, namespace: removing, annotations: {argocd.argoproj.io/sync-options: Delete=false, " + byProd + "}}\n")
	s.says(strings.Replace(synced(newer), `{"version":"v1","kind":"Namespace","name":"default"}`,
		`{"version":"v1","kind":"ConfigMap","namespace":"removing","name":"applied"},{"version":"v1","kind":"ConfigMap","namespace":"removing","name":"kept"}`, 1))
	applied := kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "removing", Name: "applied"}
	play := make(chan struct{})
	go func() {
		defer close(play)
		s.once("deleted with its objects", func(obj *unstructured.Unstructured) bool {
			return obj.GetDeletionTimestamp() != nil && len(obj.GetFinalizers()) == 1
		}, `{}`)
		if err := s.client.Delete(t.Context(), []kube.Ref{applied}, nil); err != nil {
			t.Error(err)
		}
		if err := s.client.MergePatch(t.Context(), s.app, []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
			t.Error(err)
		}
	}()
	outcome, err := s.argo.Remove(t.Context(), s.client, s.watcher, reconciler.Before{}, nil)
	<-play
	if outcome != plan.Changed || err != nil {
		t.Fatalf("%s, %v", outcome, err)
	}
	if outcome, err := s.argo.Remove(t.Context(), s.client, s.watcher, reconciler.Before{}, nil); outcome != plan.Unchanged || err != nil {
		t.Errorf("once more: %s, %v", outcome, err)
	}
	if err := s.argo.Status(t.Context(), s.client, s.target); err == nil || strings.Count(err.Error(), "missing") != 3 {
		t.Errorf("left: %v", err)
	}
}
