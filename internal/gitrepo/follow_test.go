package gitrepo

import (
	"slices"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

// kustomization is one of Flux in flux-system, and gitRepositoryOf a GitRepository there.
func kustomization(name, dir, source string) string {
	return "---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: " + name + ", namespace: flux-system}\n" +
		"spec: {path: " + dir + ", sourceRef: {kind: GitRepository, name: " + source + "}}\n"
}

func gitRepositoryOf(name, url, ref string) string {
	return "---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: " + name + ", namespace: flux-system}\n" +
		"spec: {url: '" + url + "', ref: " + ref + "}\n"
}

// Which GitRepository is this repository is decided by its address and ref, and it may be declared in any path.
func TestWhatFluxAppliesFromThisRepositoryIsRendered(t *testing.T) {
	const here = "https://github.com/acme/ops.git"
	layout := map[string]string{ // as flux bootstrap and its examples have it
		"clusters/prod/infrastructure.yaml":  kustomization("infrastructure", "./infrastructure", "flux-system"),
		"clusters/prod/apps.yaml":            kustomization("apps", "./apps/prod", "flux-system"),
		"infrastructure/controllers/ns.yaml": cm("controllers"),
		"apps/prod/kustomization.yaml":       "resources: [../base]\n",
		"apps/base/kustomization.yaml":       "resources: [web.yaml]\n", "apps/base/web.yaml": cm("web"),
	}
	with := func(more map[string]string) map[string]string {
		all := map[string]string{}
		for _, m := range []map[string]string{layout, more} {
			for name, text := range m {
				all[name] = text
			}
		}
		return all
	}
	both := []string{"clusters/prod", "apps/prod", "infrastructure"}
	sync := kustomization("flux-system", "./clusters/prod", "flux-system")
	for name, c := range map[string]struct {
		files map[string]string
		named string
		paths []string
		fault string
	}{
		"by the name of rekindle's own":   {layout, "flux-system", both, ""},
		"by a name that nobody makes":     {layout, "rekindle", nil, "spec.reconciler.flux.name to flux-system"},
		"committed with the same address": {with(map[string]string{"clusters/prod/flux-system/gotk-sync.yaml": gitRepositoryOf("flux-system", "ssh://git@github.com/acme/ops", "{branch: main}") + sync}), "rekindle", both, ""},
		"committed with another address":  {with(map[string]string{"clusters/prod/gotk-sync.yaml": gitRepositoryOf("flux-system", "https://github.com/acme/other", "{branch: main}")}), "rekindle", []string{"clusters/prod"}, ""},
		"committed with another branch":   {with(map[string]string{"clusters/prod/gotk-sync.yaml": gitRepositoryOf("flux-system", here, "{branch: dev}")}), "rekindle", []string{"clusters/prod"}, ""},
		"another's, declared in a path that comes later": {
			with(map[string]string{
				"clusters/prod/tenant.yaml":   kustomization("tenant", "./apps/base", "tenant"),
				"infrastructure/sources.yaml": gitRepositoryOf("tenant", "https://github.com/tenant/ops", "{branch: main}"),
			}), "flux-system", both, "",
		},
		"this one, declared in a path that comes later": {
			with(map[string]string{
				"clusters/prod/tenant.yaml":   kustomization("tenant", "./apps/base", "tenant"),
				"infrastructure/sources.yaml": gitRepositoryOf("tenant", "git@github.com:acme/ops.git", "{name: refs/heads/main}"),
			}), "flux-system", append([]string{"apps/base"}, both...), "",
		},
		"a folder that is not there": {
			with(map[string]string{"clusters/prod/apps.yaml": kustomization("apps", "./apps/production", "flux-system")}), "flux-system", nil,
			"Kustomization flux-system/apps: path apps/production: the repository has no such folder",
		},
		"a file": {
			with(map[string]string{"clusters/prod/apps.yaml": kustomization("apps", "./apps/base/web.yaml", "flux-system")}), "flux-system", nil,
			"path apps/base/web.yaml: is a file: expected a folder",
		},
		"a folder that is not there, suspended": {
			with(map[string]string{"clusters/prod/apps.yaml": strings.ReplaceAll(kustomization("apps", "./apps/production", "flux-system"), "spec: {", "spec: {suspend: true, ")}),
			"flux-system", []string{"clusters/prod", "infrastructure"}, "",
		},
		"a folder that is not there, in a path that may be changed on the way": {
			with(map[string]string{"infrastructure/more.yaml": kustomization("more", "./tenants/one", "flux-system")}), "flux-system", both, "",
		},
		"a folder that another repository may bring": {
			with(map[string]string{
				"clusters/prod/apps.yaml": kustomization("apps", "./included/apps", "own"),
				"clusters/prod/own.yaml":  gitRepositoryOf("own", here, "{branch: main}, include: [{repository: {name: other}, toPath: included}]"),
			}), "flux-system", []string{"clusters/prod", "infrastructure"}, "",
		},
		"of another namespace": {
			with(map[string]string{"clusters/prod/apps.yaml": strings.ReplaceAll(kustomization("apps", "./apps/prod", "flux-system"), "namespace: flux-system", "namespace: tenants")}),
			"flux-system", nil, "with its namespace",
		},
	} {
		t.Run(name, func(t *testing.T) {
			source := Source{NewOrigin(here, config.Ref{Branch: "main"}), "flux-system", c.named}
			r, err := Render(t.Context(), repoFS(c.files), "clusters/prod", source)
			if c.fault != "" {
				if text := fault.Text(err); fault.KindOf(err) != fault.Usage || !strings.Contains(text, c.fault) {
					t.Errorf("got %v", text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var paths []string
			for _, one := range r.All() {
				paths = append(paths, one.Path)
			}
			slices.Sort(paths)
			slices.Sort(c.paths)
			if !slices.Equal(paths, c.paths) {
				t.Errorf("rendered %v, want %v", paths, c.paths)
			}
		})
	}
}

func TestSpellingsOfOneAddressAreOneOrigin(t *testing.T) {
	same := []string{"https://github.com/acme/ops.git", "https://GitHub.com:443/acme/ops/", "ssh://git@github.com/acme/ops", "git@github.com:acme/ops.git", "ssh://git@github.com:22/acme/ops.git"}
	for _, address := range same {
		if NewOrigin(address, config.Ref{Branch: "main"}) != NewOrigin(same[0], config.Ref{}) {
			t.Errorf("%s is another", address)
		}
	}
	for _, address := range []string{"https://github.com/acme/ops2", "https://git.example.com/acme/ops", "https://github.com:8443/acme/ops"} {
		if NewOrigin(address, config.Ref{}) == NewOrigin(same[0], config.Ref{}) {
			t.Errorf("%s is the same", address)
		}
	}
}
