package bootstrap

import (
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// leadsTo is a Kustomization, with more of its spec.
func leadsTo(path string, more map[string]any) map[string]any {
	spec := map[string]any{"path": path, "prune": true, "interval": "1h", "suspend": false, "dependsOn": []any{map[string]any{"name": "other"}}}
	for field, value := range more {
		spec[field] = value
	}
	return map[string]any{
		"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": map[string]any{"name": strings.ReplaceAll(path, "/", "-")}, "spec": spec,
	}
}

// What Flux changes on its way is no difference from what is rendered; the rest is compared.
func TestPathsAreComparedThatFluxAppliesAsTheyRender(t *testing.T) {
	root := &gitrepo.Rendered{Path: "clusters/prod",
		Objects: []map[string]any{
			leadsTo("./infra", nil), leadsTo("apps/", nil), leadsTo("tenants", map[string]any{"targetNamespace": "tenants"}),
			leadsTo("later", map[string]any{"suspend": true}), leadsTo("vars", map[string]any{"postBuild": map[string]any{}}),
			{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "path"}, "spec": map[string]any{"path": "infra", "patches": "none"}},
		},
		Children: []*gitrepo.Rendered{
			{Path: "infra", Objects: []map[string]any{leadsTo("infra/more", nil)}, Children: []*gitrepo.Rendered{{Path: "infra/more"}}},
			{Path: "apps"},
			{Path: "tenants", Objects: []map[string]any{leadsTo("tenants/one", nil)}, Children: []*gitrepo.Rendered{{Path: "tenants/one"}}},
			{Path: "later"},
			{Path: "vars"},
		},
	}
	var got []string
	for _, r := range asRendered(root) {
		got = append(got, r.Path)
	}
	if all := strings.Join(got, " "); all != "clusters/prod infra infra/more apps" {
		t.Errorf("compared are %s", all)
	}
}

func TestGeneratedNamesAreKnown(t *testing.T) {
	for name, want := range map[string]bool{"shop-6ct58987ht": true, "shop": false, "shop-credentials": false, "a-much-longer": false} {
		for _, kind := range []string{"ConfigMap", "Secret", "Deployment"} {
			ref := kube.Ref{Kind: kind, Name: name}
			if got := isHashed(ref); got != (want && kind != "Deployment") {
				t.Errorf("%s: %v", ref, got)
			}
		}
	}
}
