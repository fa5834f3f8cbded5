package bootstrap

import (
	"context"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/stacks"
)

// TestALentClusterThatIsSilentKeepsAll: without its lease another run may be at work in it, and unasked a migration may need it. One that
// goes as a whole goes.
func TestALentClusterThatIsSilentKeepsAll(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		provider providers.Provider
		refused  bool
	}{{"lent", lender{}, true}, {"made", finder{}, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			j := newFound(c.provider)
			defer j.Close()
			j.cluster = &providers.Cluster{REST: &rest.Config{Host: "http://127.0.0.1:1"}}
			_, err := j.takeLeaseOfOld(t.Context()).Do(t.Context(), nil)
			if (err != nil) != c.refused || c.refused && !strings.Contains(strings.Join(fault.Hints(err), ""), "stays until it does") {
				t.Errorf("%v, %q", err, fault.Hints(err))
			}
		})
	}
}

// TestNamespacesOfWhatWasPrunedAreFound, whether or not the documents, or this run, still know of them: they are those that rekindle made.
func TestNamespacesOfWhatWasPrunedAreFound(t *testing.T) {
	j := newLive(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: given-theirs}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: given-named}\n")
	install(t, j, "given-release")
	for _, namespace := range []string{"given-key", "given-before"} {
		j.secrets = append(j.secrets, keys.Secret{Name: "key", Namespace: namespace})
	}
	if _, err := j.applySecrets(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := j.client.Apply(t.Context(), namespaceObjects("given-reconciler"), kube.ApplyOptions{Manager: kube.Manager}); err != nil {
		t.Fatal(err)
	}
	j.stack = &stacks.Stack{}
	j.docs.Cluster.Spec.Keys = []config.Key{{Name: "key", Namespace: "given-named"}, {Name: "key", Namespace: "given-nowhere"}}
	names, err := j.namespaces(t.Context(), []string{"default", "given-before"})
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, "given-") })
	if want := []string{"given-key", "given-named", "given-reconciler", "given-release"}; !slices.Equal(names, want) || err != nil {
		t.Errorf("%v, want %v (%v)", names, want, err)
	}
}

// TestWhatFluxAppliedByAnotherNameGoes: neither the documents nor the default have the name any more.
func TestWhatFluxAppliedByAnotherNameGoes(t *testing.T) {
	const kinds = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: kustomizations.kustomize.toolkit.fluxcd.io}
spec:
  group: kustomize.toolkit.fluxcd.io
  scope: Namespaced
  names: {plural: kustomizations, singular: kustomization, kind: Kustomization}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gitrepositories.source.toolkit.fluxcd.io}
spec:
  group: source.toolkit.fluxcd.io
  scope: Namespaced
  names: {plural: gitrepositories, singular: gitrepository, kind: GitRepository}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`
	j := newLive(t, kinds+"---\napiVersion: v1\nkind: Namespace\nmetadata: {name: given-flux}\n")
	t.Cleanup(func() {
		var crds []kube.Ref
		for _, crd := range parse(t, kinds) {
			crds = append(crds, kube.RefOf(crd))
		}
		if err := j.client.Delete(context.WithoutCancel(t.Context()), crds, nil); err != nil {
			t.Error(err)
		}
	})
	manifest := ""
	for _, kind := range []string{"kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization", "source.toolkit.fluxcd.io/v1\nkind: GitRepository"} {
		manifest += "---\napiVersion: " + kind + "\nmetadata: {name: ops, namespace: given-flux, labels: {rekindle.dev/owner: rekindle}}\n" +
			"---\napiVersion: " + kind + "\nmetadata: {name: rekindle, namespace: given-flux}\n"
	}
	objs := parse(t, manifest)
	if _, err := j.client.Apply(t.Context(), objs, kube.ApplyOptions{Manager: "test"}); err != nil {
		t.Fatal(err)
	}
	if err := j.removeAppliedBy(t.Context(), helm.Installed{Name: "flux", Namespace: "given-flux"}, reconciler.Before{}, nil); err != nil {
		t.Error(err)
	}
	for _, obj := range objs {
		live, err := j.client.Get(t.Context(), kube.RefOf(obj))
		if ours := obj.GetName() == "ops"; err != nil || (live == nil) != ours {
			t.Errorf("%s is there: %t (%v)", kube.RefOf(obj), live != nil, err)
		}
	}
}

// TestWhatThePathDeclaresAndWasThereIsTold before the reconciler writes into it, also by plan. Before the first run nothing notes what was
// there: it is what is there now.
func TestWhatThePathDeclaresAndWasThereIsTold(t *testing.T) {
	j := newLive(t, there)
	j.render(t, declared)
	for name, provider := range map[string]providers.Provider{"lent": lender{had: []string{"default", "kept-plain", "kept-option", "kept-own"}}, "not yet": unmarked{}} {
		j.tools.Provider = provider
		h, err := j.heirlooms(t.Context())
		warned := ""
		h.tell("Flux", func(u plan.Update) { warned += u.Warning + "\n" })
		if err != nil || len(h.lacks) != 2 || !strings.HasPrefix(warned, "the repository declares what was in the cluster before: Flux changes it as declared, and down leaves it: "+
			"Namespace kept-plain, Namespace kept-option, Namespace kept-own\n") {
			t.Errorf("%s: %d are to be kept, warned %q (%v)", name, len(h.lacks), warned, err)
		}
	}
}
