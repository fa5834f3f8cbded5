package flux

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
)

func TestWhatFluxIsPointedWith(t *testing.T) {
	locked := map[string]any{"multitenancy": map[string]any{"enabled": true}}
	for _, c := range []struct {
		spec               config.Flux
		name, account, url string
	}{
		{config.Flux{}, "rekindle", "", "https://git.example.com/ops.git"},
		{config.Flux{Name: "flux-system", Values: locked}, "flux-system", "kustomize-controller", "https://git.example.com/ops.git"},
		{config.Flux{ServiceAccountName: "root", Values: locked}, "rekindle", "root", "git@git.example.com:acme/ops.git"},
		{config.Flux{}, "rekindle", "", "git@git.example.com:/acme/ops.git"},
	} {
		f := New(c.spec)
		target := reconciler.Target{Source: config.Source{URL: c.url}}
		obj, err := f.kustomization(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		account, _, _ := unstructured.NestedString(obj.Object, "spec", "serviceAccountName")
		source, _, _ := unstructured.NestedString(obj.Object, "spec", "sourceRef", "name")
		repository := f.repository(target)
		if obj.GetName() != c.name || source != c.name || repository.GetName() != c.name || account != c.account {
			t.Errorf("%+v: named %s, %s and %s, as %q", c.spec, obj.GetName(), source, repository.GetName(), account)
		}
		url, _, _ := unstructured.NestedString(repository.Object, "spec", "url")
		if want := config.RepoURL(c.url); url != want || url[:4] != "http" && url != "ssh://git@git.example.com/acme/ops.git" {
			t.Errorf("%s is %s", c.url, url)
		}
	}
}
