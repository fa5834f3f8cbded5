package helm_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// TestARecordInAVersionThatIsNotServedAnyMore is neither in the way of an upgrade nor of a removal: its CRD was upgraded meanwhile.
func TestARecordInAVersionThatIsNotServedAnyMore(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	group := s.name + ".example.com"
	crd := func(served string) {
		t.Helper()
		objs, err := kube.ParseManifest([]byte(strings.NewReplacer("GROUP", group, "SERVED", served).Replace(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {kind: Thing, plural: things}
  versions:
  - {name: v1beta1, served: SERVED, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.client.EstablishCRDs(t.Context(), objs, nil); err != nil {
			t.Fatal(err)
		}
	}
	thing := func(version string) helm.Release {
		return helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Values: map[string]any{"color": "red"}, Chart: chart(t, map[string]string{
			"templates/config.yaml": configMap, "templates/thing.yaml": "apiVersion: " + group + "/" + version + "\nkind: Thing\nmetadata: {name: one}\n",
		})}
	}
	one := kube.Ref{Group: group, Kind: "Thing", Namespace: s.name, Name: "one"}
	await := func(served bool) { // a server goes on serving a version for a moment
		t.Helper()
		old := one
		old.Version = "v1beta1"
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for s.exists(old) != served {
			if ctx.Err() != nil {
				t.Fatal("it never is")
			}
			s.client.Mapper().(interface{ Reset() }).Reset()
		}
	}
	for _, then := range []string{"upgraded", "removed"} {
		crd("true")
		s.mustEnsure(thing("v1beta1"), plan.Changed)
		crd("false")
		await(false)
		if then == "upgraded" {
			s.mustEnsure(thing("v1"), plan.Changed)
			s.mustEnsure(thing("v1"), plan.Unchanged)
			if !s.exists(one) {
				t.Fatal("it was deleted")
			}
		}
		if s.remove(helm.Remove); s.exists(one) {
			t.Fatalf("%s: it is still there", then)
		}
	}
}

// TestAHookWhoseNameTheServerCompletes does not keep its release from being removed.
func TestAHookWhoseNameTheServerCompletes(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.mustEnsure(helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Values: map[string]any{"color": "red"}, Chart: chart(t, map[string]string{
		"templates/config.yaml": configMap, "templates/hook.yaml": `
apiVersion: v1
kind: ConfigMap
metadata: {generateName: hook-, annotations: {helm.sh/hook: post-install, helm.sh/hook-delete-policy: hook-failed}}
`})}, plan.Changed)
	s.remove(helm.Remove)
}

// TestACRDMovesBetweenItsFolderAndTheTemplates of a chart, as with another version of that, and is neither refused nor deleted.
func TestACRDMovesBetweenItsFolderAndTheTemplates(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	group := s.name + ".example.com"
	crd := strings.ReplaceAll(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {kind: Thing, plural: things}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`, "GROUP", group)
	objs, err := kube.ParseManifest([]byte(crd))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.EstablishCRDs(t.Context(), objs, nil); err != nil {
		t.Fatal(err)
	}
	release := func(templates map[string]string) helm.Release {
		templates["templates/config.yaml"] = configMap
		return s.rendered(helm.Release{Name: "app", Namespace: s.name, Timeout: time.Minute, Values: map[string]any{"color": "red"}, Chart: chart(t, templates)})
	}
	outside := release(map[string]string{})
	outside.CRDs = kube.RefsOf(objs)
	s.mustEnsure(outside, plan.Changed)
	inside := release(map[string]string{"templates/crd.yaml": crd})
	s.mustEnsure(inside, plan.Changed)
	s.mustEnsure(inside, plan.Unchanged)
	s.mustEnsure(outside, plan.Changed)
	if !s.exists(kube.RefOf(objs[0])) {
		t.Error("it was deleted, which the folder brings again")
	}
}
