package gitrepo

import (
	"slices"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// TestWhatFluxLeavesOutIsNotRendered: it makes an artifact of the repository first, and applies what is in that.
func TestWhatFluxLeavesOutIsNotRendered(t *testing.T) {
	flux := Source{Namespace: "flux-system", Name: "rekindle"}
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"by a file in the root": {map[string]string{".sourceignore": "# no manifests\r\n/p/values.yaml\r\ndocs/\n", "p/a.yaml": cm("a"), "p/values.yaml": "x: 1\n",
			"p/docs/example.yaml": "a: [\n"}, []string{"ConfigMap/a"}},
		"by a file in a folder": {map[string]string{"p/.sourceignore": "*.yaml\n!a.yaml\n", "p/a.yaml": cm("a"), "p/b.yaml": cm("b"), "b/b.yaml": cm("b")}, []string{"ConfigMap/a"}},
		"by default":            {map[string]string{"p/a.yaml": cm("a"), "p/.sops.yaml": "creation_rules: []\n", "p/.github/w.yaml": "on: push\n"}, []string{"ConfigMap/a"}},
		"a chart": {map[string]string{".sourceignore": "chart/\n", "p/a.yaml": cm("a"), "p/chart/Chart.yaml": "name: c\n", "p/chart/templates/a.yaml": "{{ a }}: [\n"},
			[]string{"ConfigMap/a"}},
		"a kustomization file": {map[string]string{".sourceignore": "kustomization.yaml\n", "p/kustomization.yaml": "resources: [a.yaml]\n", "p/a.yaml": cm("a"), "p/b.yaml": cm("b")},
			[]string{"ConfigMap/a", "ConfigMap/b"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Render(t.Context(), repoFS(c.files), "p", flux)
			if err != nil {
				t.Fatal(err)
			}
			if got := names(r); !slices.Equal(got, c.want) {
				t.Errorf("objects %v, want %v", got, c.want)
			}
		})
	}
}

// TestWhatFluxDoesNotHaveBreaksTheBuild, also where kustomize would find it in a checkout.
func TestWhatFluxDoesNotHaveBreaksTheBuild(t *testing.T) {
	flux := Source{Namespace: "flux-system", Name: "rekindle"}
	logo := map[string]string{"p/kustomization.yaml": "configMapGenerator: [{name: x, files: [logo=img/logo.png]}]\n", "p/img/logo.png": "x"}
	_, err := Render(t.Context(), repoFS(logo), "p", flux)
	wantFault(t, err, fault.Usage, "p/kustomization.yaml: img/logo.png is not in what Flux takes of the repository: by default", "!/p/img/logo.png")
	if _, err := Render(t.Context(), repoFS(logo), "p", Source{}); err != nil {
		t.Errorf("without Flux: %v", err)
	}
	logo[".sourceignore"] = "!/p/img/logo.png\n"
	if _, err := Render(t.Context(), repoFS(logo), "p", flux); err != nil {
		t.Errorf("after what the hint says: %v", err)
	}
	_, err = Render(t.Context(), repoFS(map[string]string{".sourceignore": "a.yaml\n", "p/kustomization.yaml": "resources: [a.yaml]\n", "p/a.yaml": cm("a")}), "p", flux)
	wantFault(t, err, fault.Usage, "a.yaml is not in what Flux takes of the repository: a .sourceignore file leaves it out")
	_, err = Render(t.Context(), repoFS(map[string]string{".sourceignore": "x\n", "p/a.yaml": cm("a"), "p/.sops.yaml": "creation_rules: []\n"}), "p", flux)
	if err == nil || !strings.Contains(err.Error(), ".sops.yaml") {
		t.Errorf("with a file of its own, a repository leaves out no more than that says: %v", err)
	}
}

// TestAPathOfNothingIsNoFault where Flux applies nothing and is content. The path of the document is: it may be a slip of the pen.
func TestAPathOfNothingIsNoFault(t *testing.T) {
	flux := Source{Namespace: "flux-system", Name: "rekindle"}
	for name, files := range map[string]map[string]string{
		"later":                       {"q/README.md": "later\n"},
		"no resources":                {"q/kustomization.yaml": "resources: []\n"},
		"a kustomization of no field": {"q/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"},
		"a kustomization of nothing":  {"q/kustomization.yaml": "# later\n"},
	} {
		files["p/q.yaml"] = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: q, namespace: flux-system}\n" +
			"spec: {path: ./q, sourceRef: {kind: GitRepository, name: rekindle}}\n"
		r, err := Render(t.Context(), repoFS(files), "p", flux)
		if err != nil || len(r.Children) != 1 || len(r.Children[0].Objects) != 0 {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	_, err := Render(t.Context(), repoFS(map[string]string{"p/README.md": "x"}), "p", flux)
	wantFault(t, err, fault.Usage, "neither a kustomization file nor a manifest")
	empty := repoFS(map[string]string{"p/kustomization.yaml": "kind: Kustomization\n"})
	if _, err := Render(t.Context(), empty, "p", Source{}); err == nil {
		t.Error("kustomize itself refuses one that says nothing")
	}
}

// TestComponentsThatFluxAddsAreProven: they may have encrypted files.
func TestComponentsThatFluxAddsAreProven(t *testing.T) {
	r, err := Render(t.Context(), repoFS(map[string]string{
		"p/q.yaml": "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: q, namespace: flux-system}\n" +
			"spec: {path: ./q, components: [../c, ../gone], ignoreMissingComponents: true, sourceRef: {kind: GitRepository, name: rekindle}}\n",
		"q/a.yaml": cm("a"), "c/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [s.yaml]\n",
		"c/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nsops: {mac: x}\n",
	}), "p", Source{Namespace: "flux-system", Name: "rekindle"})
	if err != nil || !slices.Equal(r.Encrypted, []string{"c/s.yaml"}) {
		t.Errorf("%v, %v", r, err)
	}
}
