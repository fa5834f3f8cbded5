package helm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

func TestAReleaseGetsARevisionOnlyForAChange(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := s.release(nil)
	if state := s.look(r, 0, ""); state.Exists {
		t.Fatal("it is there before it was made")
	}
	s.mustEnsure(r, plan.Changed)
	if state := s.look(r, 1, "deployed"); !state.AsWanted() {
		t.Fatalf("after the install: %+v", state)
	}
	if got := s.color(); got != "red" {
		t.Errorf("color %q", got)
	}

	since := time.Now()
	s.mustEnsure(r, plan.Unchanged)
	if writes := s.writes(since); len(writes) > 0 {
		t.Errorf("the same again wrote %v", writes)
	}

	blue := s.release(map[string]any{"color": "blue"})
	if state := s.look(blue, 1, "deployed"); state.Same || state.AsWanted() {
		t.Error("other values are taken for the same")
	}
	s.mustEnsure(blue, plan.Changed)
	if state := s.look(blue, 2, "deployed"); !state.AsWanted() || s.color() != "blue" {
		t.Errorf("after other values: %+v, color %s", state, s.color())
	}
	s.mustEnsure(blue, plan.Unchanged)
	s.mustEnsure(r, plan.Changed)
	if state := s.look(r, 3, "deployed"); !state.AsWanted() || s.color() != "red" {
		t.Errorf("after no values again: %+v, color %s", state, s.color())
	}
	if n := len(s.revisions()); n != 3 {
		t.Errorf("%d revisions, want 3", n)
	}
}

func TestAHandEditIsFoundAndPutRight(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := s.release(nil)
	s.mustEnsure(r, plan.Changed)
	s.patch("app", `{"data":{"color":"mauve"}}`)

	state := s.look(r, 1, "deployed")
	if len(state.Different) != 1 || !strings.Contains(state.Different[0].String(), "ConfigMap "+s.name+"/app") ||
		!strings.Contains(state.Different[0].String(), "data.color") {
		t.Fatalf("differences: %v", state.Different)
	}
	s.mustEnsure(r, plan.Changed)
	if state := s.look(r, 2, "deployed"); !state.AsWanted() || s.color() != "red" {
		t.Errorf("after: %+v, color %s", state, s.color())
	}

	s.deleteObject("app")
	if state := s.look(r, 2, "deployed"); state.AsWanted() {
		t.Error("a deleted object is no difference")
	}
	s.mustEnsure(r, plan.Changed)
	s.look(r, 3, "deployed")
	if s.color() != "red" {
		t.Error("the deleted object is not back")
	}
}

func TestAForeignReleaseIsRefusedAndUntouched(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := s.release(nil)
	s.mustEnsure(r, plan.Changed)
	s.relabel("sh.helm.release.v1.app.v1", map[string]any{"rekindle.dev/owner": nil}) // as helm install leaves it

	before, since := s.revisions(), time.Now()
	_, _, err := s.ensure(s.release(map[string]any{"color": "blue"}))
	if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "release "+s.name+"/app") {
		t.Errorf("install over it: %v", err)
	}
	if len(fault.Hints(err)) == 0 {
		t.Error("no hint")
	}
	if _, err := helm.Remove(t.Context(), s.client, s.watcher, "app", s.name, time.Minute, nil); fault.KindOf(err) != fault.Refused {
		t.Errorf("remove it: %v", err)
	}
	if writes := s.writes(since); len(writes) > 0 || !maps.Equal(before, s.revisions()) || s.color() != "red" {
		t.Errorf("it was touched: %v, color %s", writes, s.color())
	}
}

// TestARevisionMadeByHandIsNotAsDeclared has it made by Helm, which gives the labels of a revision to the next one.
func TestARevisionMadeByHandIsNotAsDeclared(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	archive := pack(t, map[string]string{"values.yaml": "color: red\n", "templates/config.yaml": configMap})
	r, err := killedRelease(archive, s.name, "red")
	if err != nil {
		t.Fatal(err)
	}
	s.mustEnsure(r, plan.Changed)
	byHand := &action.Configuration{}
	if err := byHand.Init(s.client.RESTClientGetter(s.name), s.name, "secret", t.Logf); err != nil {
		t.Fatal(err)
	}
	loaded, err := loader.LoadArchive(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	upgrade := action.NewUpgrade(byHand)
	upgrade.Namespace = s.name
	if _, err := upgrade.Run("app", loaded, map[string]any{"color": "mauve"}); err != nil {
		t.Fatal(err)
	}
	if state := s.look(r, 2, "deployed"); state.Same || state.AsWanted() || !state.Ours || s.color() != "mauve" {
		t.Errorf("after an upgrade by hand: %+v, color %s", state, s.color())
	}
	s.mustEnsure(r, plan.Changed)
	if state := s.look(r, 3, "deployed"); !state.AsWanted() || s.color() != "red" {
		t.Errorf("then: %+v, color %s", state, s.color())
	}
	rollback := action.NewRollback(byHand)
	rollback.Version = 2
	if err := rollback.Run("app"); err != nil {
		t.Fatal(err)
	}
	if state := s.look(r, 4, "deployed"); state.AsWanted() || s.color() != "mauve" {
		t.Errorf("after a rollback by hand: %+v, color %s", state, s.color())
	}
	s.mustEnsure(r, plan.Changed)
	s.mustEnsure(r, plan.Unchanged)
}

func TestTheRulesOfAnAggregatedRoleAreNoDifference(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Chart: chart(t, map[string]string{"templates/roles.yaml": `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: {{ .Release.Namespace }}-sum}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {part-of: {{ .Release.Namespace }}}}]}
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: {{ .Release.Namespace }}-part, labels: {part-of: {{ .Release.Namespace }}}}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
`})}
	s.mustEnsure(r, plan.Changed)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sum := kube.Ref{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole", Name: s.name + "-sum"}
	if err := s.watcher.Until(ctx, sum, "put together", func(role *unstructured.Unstructured) kube.Health {
		rules, _, _ := unstructured.NestedSlice(role.Object, "rules")
		return kube.Health{Ready: len(rules) > 0}
	}, nil); err != nil {
		t.Fatal(err)
	}
	s.mustEnsure(r, plan.Unchanged)
	if state := s.look(r, 1, "deployed"); !state.AsWanted() {
		t.Errorf("differences: %v", state.Different)
	}
}

func TestRemoveTakesAwayAllButWhatIsToBeKept(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	remove := func() plan.Outcome {
		t.Helper()
		outcome, err := helm.Remove(t.Context(), s.client, s.watcher, "app", s.name, time.Minute, nil)
		if err != nil {
			t.Fatal(err)
		}
		return outcome
	}
	if got := remove(); got != plan.Unchanged {
		t.Errorf("one that is not there: %s", got)
	}
	s.mustEnsure(s.release(nil), plan.Changed)
	if got := remove(); got != plan.Changed {
		t.Errorf("one that is there: %s", got)
	}
	if s.configMap("app") != nil {
		t.Error("its ConfigMap is still there")
	}
	if s.configMap("app-kept") == nil {
		t.Error("what it asks to keep is gone")
	}
	if n := len(s.revisions()); n > 0 {
		t.Errorf("%d revisions are left", n)
	}
	if got := remove(); got != plan.Unchanged {
		t.Errorf("again: %s", got)
	}
}

// TestWhatAKilledRunLeftIsFinished has the states that only Helm's storage tells, written as Helm writes them. The others
// are made by killing a process.
func TestWhatAKilledRunLeftIsFinished(t *testing.T) {
	t.Parallel()
	for _, status := range []release.Status{release.StatusPendingRollback, release.StatusUninstalling, release.StatusFailed} {
		t.Run(string(status), func(t *testing.T) {
			t.Parallel()
			s := newSpace(t)
			r := s.release(nil)
			s.mustEnsure(r, plan.Changed)
			s.setStatus(1, status)
			s.deleteObject("app")
			state := s.look(r, 1, string(status))
			if state.AsWanted() || state.Pending != (status != release.StatusFailed) {
				t.Errorf("it is taken for %+v", state)
			}
			want := plan.Adopted
			if status == release.StatusFailed {
				want = plan.Changed
			}
			s.mustEnsure(r, want)
			if state := s.look(r, 2, "deployed"); !state.AsWanted() {
				t.Errorf("after: %+v", state)
			}
			s.mustEnsure(r, plan.Unchanged)
		})
	}
}

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	c := chart(t, map[string]string{"templates/config.yaml": configMap})
	for i := range 13 {
		r := helm.Release{Name: "app", Namespace: s.name, Chart: c, Values: map[string]any{"color": fmt.Sprint(i)}, Timeout: time.Minute}
		s.mustEnsure(r, plan.Changed)
	}
	if n := len(s.revisions()); n != 10 {
		t.Errorf("%d revisions are kept, want 10", n)
	}
}

func TestAnInstallThatFailedIsTriedAgainAsAnInstall(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	files := map[string]string{
		"templates/config.yaml": configMap,
		"templates/more.yaml":   "{{ if .Values.more }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n{{ end }}",
		"templates/bad.yaml":    "{{ if .Values.bad }}\napiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 99999999}]}\n{{ end }}",
		"templates/seed.yaml":   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: seed, annotations: {helm.sh/hook: post-install}}\n",
	}
	r := helm.Release{Name: "app", Namespace: s.name, Chart: chart(t, files), Timeout: time.Minute}
	r.Values = map[string]any{"color": "red", "more": true, "bad": true}
	_, _, err := s.ensure(r)
	if err == nil || !strings.Contains(err.Error(), "99999999") {
		t.Fatalf("got %v", err)
	}
	s.look(r, 1, "failed")

	r.Values = map[string]any{"color": "red"}
	s.mustEnsure(r, plan.Changed)
	s.look(r, 2, "deployed")
	if s.configMap("seed") == nil {
		t.Error("the hook of the install never ran")
	}
	if s.configMap("more") != nil {
		t.Error("what only the failed install wanted is still there")
	}
	s.mustEnsure(r, plan.Unchanged)
}

func TestAfterACancelNothingIsWritten(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Chart: chart(t, map[string]string{
		"templates/hook.yaml": hookJob("pre-install", "nodeSelector: {nowhere: here}"), "templates/config.yaml": configMap,
	})}
	ctx, cancel := context.WithCancel(t.Context())
	var cancelled time.Time
	_, _, err := helm.Ensure(ctx, s.client, s.watcher, r, func(u plan.Update) {
		if strings.Contains(u.Waiting, "hook") && cancelled.IsZero() {
			cancel()
			cancelled = time.Now()
		}
	})
	cancel()
	if !errors.Is(err, context.Canceled) || fault.Code(err) != fault.ExitInterrupted {
		t.Errorf("got %v", err)
	}
	if cancelled.IsZero() {
		t.Fatal("it never waited for the hook")
	}
	// A write of somebody else marks the end in the audit log.
	s.mustEnsure(helm.Release{Name: "other", Namespace: s.name, Timeout: time.Minute, Chart: chart(t, map[string]string{"templates/config.yaml": configMap})}, plan.Changed)
	for _, w := range s.writes(cancelled) {
		if !strings.Contains(w.URI, "other") && !(w.Verb == "create" && w.Time.After(cancelled) && isCollection(w.URI)) {
			t.Errorf("after the cancel: %s", w)
		}
	}
	if s.configMap("app") != nil {
		t.Error("the install went on")
	}
	s.look(r, 1, "pending-install")
}

// isCollection says of a create's address that it names no object: its writer is told by what is there.
func isCollection(uri string) bool {
	for _, kind := range []string{"configmaps", "secrets"} {
		if strings.HasSuffix(strings.Split(uri, "?")[0], "/"+kind) {
			return true
		}
	}
	return false
}

func (s *space) patch(name, patch string) {
	s.Helper()
	if _, err := s.client.Typed().CoreV1().ConfigMaps(s.name).Patch(s.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		s.Fatal(err)
	}
}

func (s *space) deleteObject(name string) {
	s.Helper()
	ref := kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: s.name, Name: name}
	if err := s.client.Delete(s.Context(), []kube.Ref{ref}, nil); err != nil {
		s.Fatal(err)
	}
}

// relabel changes the labels of a Secret; a nil value takes one away.
func (s *space) relabel(secret string, labels map[string]any) {
	s.Helper()
	api := s.client.Typed().CoreV1().Secrets(s.name)
	have, err := api.Get(s.Context(), secret, metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	for name, value := range labels {
		delete(have.Labels, name)
		if value != nil {
			have.Labels[name] = value.(string)
		}
	}
	if _, err := api.Update(s.Context(), have, metav1.UpdateOptions{}); err != nil {
		s.Fatal(err)
	}
}

// setStatus writes a revision as Helm would, with another status.
func (s *space) setStatus(revision int, status release.Status) {
	s.Helper()
	secrets := driver.NewSecrets(s.client.Typed().CoreV1().Secrets(s.name))
	key := fmt.Sprintf("sh.helm.release.v1.app.v%d", revision)
	rel, err := secrets.Get(key)
	if err != nil {
		s.Fatal(err)
	}
	rel.SetStatus(status, "as a killed run leaves it")
	if err := secrets.Update(key, rel); err != nil {
		s.Fatal(err)
	}
}
