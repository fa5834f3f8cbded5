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

// remove removes the release and gives the warnings.
func (s *space) remove(remove func(context.Context, *kube.Client, *kube.Watcher, string, string, time.Duration, plan.Progress) (plan.Outcome, error)) (warnings []string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	outcome, err := remove(ctx, s.client, s.watcher, "app", s.name, time.Minute, func(u plan.Update) {
		if u.Warning != "" {
			warnings = append(warnings, u.Warning)
		}
	})
	if err != nil || outcome != plan.Changed {
		s.Fatalf("remove: %s, %v", outcome, err)
	}
	if n := len(s.revisions()); n > 0 {
		s.Errorf("%d revisions are left", n)
	}
	return warnings
}

// exists says whether an object is there.
func (s *space) exists(ref kube.Ref) bool {
	s.Helper()
	obj, err := s.client.Get(s.Context(), ref)
	if err != nil {
		s.Fatal(err)
	}
	return obj != nil
}

// TestACRDWithObjectsOutlivesItsRelease: they are not the release's.
func TestACRDWithObjectsOutlivesItsRelease(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	group := s.name + ".example.com"
	r := s.rendered(helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Values: map[string]any{"color": "red", "crd": true}, Chart: chart(t, map[string]string{
		"templates/config.yaml": configMap, "templates/crd.yaml": "{{ if .Values.crd }}" + strings.ReplaceAll(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {kind: Thing, plural: things}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`, "GROUP", group) + "{{ end }}",
	})})
	crd := kube.Ref{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition", Name: "things." + group}
	s.mustEnsure(r, plan.Changed)
	theirs := s.apply("somebody", "apiVersion: "+group+"/v1\nkind: Thing\nmetadata: {name: theirs, namespace: NS}\n")
	stays := func(after string, warnings []string) {
		t.Helper()
		if !s.exists(crd) || !s.exists(kube.RefOf(theirs[0])) {
			t.Fatalf("after %s it or its object is gone", after)
		}
		if want := "CRD things." + group + " stays: there are objects of it"; len(warnings) != 1 || warnings[0] != want {
			t.Errorf("after %s it says %q", after, warnings)
		}
	}
	stays("a removal", s.remove(helm.Remove))
	if s.configMap("app") != nil {
		t.Error("its ConfigMap is still there")
	}
	s.mustEnsure(r, plan.Changed) // it is known as its own

	var warnings []string
	without := r
	without.Values = map[string]any{"color": "red"}
	if _, _, err := helm.Ensure(t.Context(), s.client, s.watcher, without, func(u plan.Update) {
		if u.Warning != "" {
			warnings = append(warnings, u.Warning)
		}
	}); err != nil {
		t.Fatal(err)
	}
	stays("an upgrade that does not bring it", warnings)
	s.mustEnsure(r, plan.Changed)

	if err := s.client.Delete(t.Context(), kube.RefsOf(theirs), nil); err != nil {
		t.Fatal(err)
	}
	if warnings := s.remove(helm.RemoveAllButCRDs); !s.exists(crd) || len(warnings) > 0 {
		t.Errorf("who decides about it: it is there: %t, and %q", s.exists(crd), warnings)
	}
	s.mustEnsure(r, plan.Changed)
	if warnings := s.remove(helm.Remove); s.exists(crd) || len(warnings) > 0 {
		t.Errorf("without an object it is there: %t, and %q", s.exists(crd), warnings)
	}
}

// TestWhatOnlyTheDeployedRevisionHasIsRemoved after an upgrade that failed: Helm uninstalls the last revision alone.
func TestWhatOnlyTheDeployedRevisionHasIsRemoved(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := s.upgraded()
	s.mustEnsure(r, plan.Changed)
	r.Values = map[string]any{"color": "blue", "without": true, "bad": true, "when": "pre-upgrade"}
	if _, _, err := s.ensure(r); err == nil || s.configMap("app") == nil {
		t.Fatalf("got %v", err)
	}
	s.patch("app", `{"metadata": {"finalizers": ["example.com/held"]}}`)
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	_, err := helm.Remove(ctx, s.client, s.watcher, "app", s.name, time.Minute, func(u plan.Update) {
		if strings.Contains(u.Waiting, "example.com/held") {
			kill()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("while it is held: %v", err)
	}
	s.patch("app", `{"metadata": {"finalizers": null}}`)
	s.remove(helm.Remove)
	if s.configMap("app") != nil {
		t.Error("what the deployed revision had is still there")
	}
}

// TestWhatIsKeptIsKeptAsHelmDoes which reads the policy without regard to case, and deletes nothing that has another one.
func TestWhatIsKeptIsKeptAsHelmDoes(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	files := map[string]string{"templates/config.yaml": configMap}
	policies := map[string]string{"a": "Keep", "b": " keep ", "c": "other"}
	for name, policy := range policies {
		files["templates/"+name+".yaml"] = "{{ if ne .Values.without \"" + name + "\" }}\napiVersion: v1\nkind: ConfigMap\n" +
			"metadata: {name: " + name + ", annotations: {helm.sh/resource-policy: \"" + policy + "\"}}\n{{ end }}"
	}
	r := helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Chart: chart(t, files), Values: map[string]any{"color": "red", "without": ""}}
	s.mustEnsure(r, plan.Changed)
	r.Values = map[string]any{"color": "red", "without": "a"}
	s.mustEnsure(r, plan.Changed)
	if s.configMap("a") == nil {
		t.Error("what the release does not want any more is gone")
	}
	s.remove(helm.Remove)
	for name, policy := range policies {
		if s.configMap(name) == nil {
			t.Errorf("what has the policy %q is gone", policy)
		}
	}
}

// TestWhatHooksLeftIsRemoved: Helm leaves it, in namespaces and in the cluster.
func TestWhatHooksLeftIsRemoved(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	r := helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Values: map[string]any{"color": "red"}, Chart: chart(t, map[string]string{
		"templates/config.yaml": configMap,
		"templates/hooks.yaml": strings.ReplaceAll(`
apiVersion: v1
kind: ConfigMap
metadata: {name: "left-{{ .Values.color }}", annotations: {helm.sh/hook: "pre-install, pre-upgrade"}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NS-left, annotations: {helm.sh/hook: pre-install}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, annotations: {helm.sh/hook: pre-install, helm.sh/resource-policy: keep}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, annotations: {helm.sh/hook: pre-install}}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: tested, annotations: {helm.sh/hook: test}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: none, annotations: {helm.sh/hook: test}}
`, "NS", s.name),
	})}
	s.mustEnsure(r, plan.Changed)
	r.Values = map[string]any{"color": "blue"} // whose hook makes another object
	s.mustEnsure(r, plan.Changed)
	s.apply("helm", `
apiVersion: v1
kind: ConfigMap
metadata: {name: tested, namespace: NS, annotations: {helm.sh/hook: test}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: none, namespace: NS}
`)
	warnings := strings.Join(s.remove(helm.RemoveAllButCRDs), "\n")
	role := kube.Ref{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole", Name: s.name + "-left"}
	claim := kube.Ref{Version: "v1", Kind: "PersistentVolumeClaim", Namespace: s.name, Name: "data"}
	if s.configMap("left-red") != nil || s.configMap("left-blue") != nil || s.exists(role) {
		t.Errorf("what hooks made is still there: ConfigMaps %t %t, ClusterRole %t", s.configMap("left-red") != nil, s.configMap("left-blue") != nil, s.exists(role))
	}
	if s.configMap("kept") == nil || !s.exists(claim) || s.configMap("tested") == nil || s.configMap("none") == nil {
		t.Error("what is to be kept, may be data, or is somebody else's is gone")
	}
	for _, name := range []string{"PersistentVolumeClaim " + s.name + "/data stays", "ConfigMap " + s.name + "/tested stays"} {
		if !strings.Contains(warnings, name) || strings.Count(warnings, "\n") != 1 {
			t.Errorf("it does not say %q alone: %s", name, warnings)
		}
	}
}

// TestWhatWasMovedToAnotherReleaseStays, as when a release gets another name and its objects are given to that by hand.
func TestWhatWasMovedToAnotherReleaseStays(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	old := s.rendered(helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Values: map[string]any{"color": "red"}, Chart: chart(t, map[string]string{
		"templates/config.yaml": configMap, "templates/moved.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: moved}\n",
	})})
	s.mustEnsure(old, plan.Changed)
	s.patch("moved", `{"metadata": {"annotations": {"meta.helm.sh/release-name": "other"}}}`)
	if s.remove(helm.Remove); s.configMap("moved") == nil || s.configMap("app") != nil {
		t.Errorf("what was moved: %v, what was not: %v", s.configMap("moved"), s.configMap("app"))
	}
}
