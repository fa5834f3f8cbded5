package helm_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// TestARemovalIsFinishedByTheNextRun as far as its objects go: what holds them may need what is removed after it.
func TestARemovalIsFinishedByTheNextRun(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.mustEnsure(s.release(nil), plan.Changed)
	s.patch("app", `{"metadata": {"finalizers": ["example.com/held"]}}`)
	for run := range 2 {
		ctx, kill := context.WithCancel(t.Context())
		outcome, err := helm.Remove(ctx, s.client, s.watcher, "app", s.name, time.Minute, func(u plan.Update) {
			if strings.Contains(u.Waiting, "example.com/held") {
				kill()
			}
		})
		kill()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("run %d, while its ConfigMap is held: %s, %v", run, outcome, err)
		}
	}
	s.look(s.release(nil), 1, "uninstalled")
	s.patch("app", `{"metadata": {"finalizers": null}}`)
	if outcome, err := helm.Remove(t.Context(), s.client, s.watcher, "app", s.name, time.Minute, nil); err != nil || outcome != plan.Changed {
		t.Errorf("when nothing holds it: %s, %v", outcome, err)
	}
	if n := len(s.revisions()); n > 0 {
		t.Errorf("%d revisions are left", n)
	}
	s.mustEnsure(s.release(nil), plan.Changed)
}

// TestWhyNothingCouldBeRemovedIsTold by the server's words, which Helm keeps to itself.
func TestWhyNothingCouldBeRemovedIsTold(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.mustEnsure(s.release(nil), plan.Changed)
	if _, err := s.client.Apply(t.Context(), s.parse(strings.ReplaceAll(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NS}
rules:
- {apiGroups: ["*"], resources: ["*"], verbs: [get, list, watch, create, update, patch]}
- {nonResourceURLs: ["*"], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NS}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: NS}]
`, "NS", s.name)), kube.ApplyOptions{Manager: "test"}); err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(s.cluster.REST)
	config.Impersonate.UserName = s.name
	careful, err := kube.Connect(config)
	if err != nil {
		t.Fatal(err)
	}
	defer careful.Close()
	_, err = helm.Remove(t.Context(), careful, s.watcher, "app", s.name, time.Minute, nil)
	for _, text := range []string{"release app", "Helm could not uninstall it", `configmaps "app" is forbidden`, `cannot delete resource`} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("it does not say %q: %v", text, err)
		}
	}
}
