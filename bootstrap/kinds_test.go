package bootstrap

import (
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/stacks"
)

// Kinds that nothing will serve are known before there is a cluster.
func TestWhatNothingServesIsToldBefore(t *testing.T) {
	const (
		crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x}\n" +
			"spec: {group: GROUP, names: {kind: KIND}, versions: [{name: v1, served: false}, {name: v2, served: true}]}\n---\n"
		thing   = "apiVersion: x.io/v2\nkind: Thing\nmetadata: {name: a, namespace: b}\n"
		release = "---\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: r, namespace: b}\n"
	)
	things := strings.NewReplacer("GROUP", "x.io", "KIND", "Thing").Replace(crd)
	releases := strings.NewReplacer("GROUP", "helm.toolkit.fluxcd.io", "KIND", "HelmRelease").Replace(crd)
	for name, c := range map[string]struct {
		manifest      string
		existing      bool
		fault, warned string
	}{
		"built in":             {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n", false, "", ""},
		"brought by the path":  {things + thing, false, "", ""},
		"a version not served": {things + strings.Replace(thing, "v2", "v1", 1), false, "", "x.io/v1 Thing"},
		"brought by nothing":   {thing, false, "", "x.io/v2 Thing"},
		"perhaps there":        {thing, true, "", ""},
		"perhaps of a chart":   {releases + thing + release, false, "", ""},
		"an old HelmRelease":   {releases + strings.Replace(release, "/v2", "/v2beta1", 1), false, "serves v2", ""},
		"a document of rekindle": {"apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: prod}\n", false,
			"add to clusters/prod a kustomization.yaml", ""},
	} {
		t.Run(name, func(t *testing.T) {
			spec := config.ClusterSpec{Source: &config.Source{}}
			if c.existing {
				spec.Provider.Existing = &config.Existing{}
			}
			j := &Job{docs: &config.Documents{Cluster: &config.Cluster{Spec: spec}}, stack: &stacks.Stack{}, follower: flux.New(config.Flux{})}
			j.render(t, c.manifest)
			j.rendered.Path = "clusters/prod"
			warned := ""
			_, err := j.checkKinds().Do(t.Context(), func(u plan.Update) { warned += u.Warning })
			if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(fault.Text(err), c.fault) {
				t.Errorf("%v", err)
			}
			if (warned == "") != (c.warned == "") || !strings.Contains(warned, c.warned) {
				t.Errorf("warned %q, want %q", warned, c.warned)
			}
		})
	}
}
