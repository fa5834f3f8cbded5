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

// TestWhatNoControllerServesIsToldBefore where all controllers of Flux that there will be are known.
func TestWhatNoControllerServesIsToldBefore(t *testing.T) {
	const (
		crd     = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x}\nspec: {group: helm.toolkit.fluxcd.io, names: {kind: HelmRelease}, versions: [{name: v2, served: true}]}\n"
		release = "---\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: r, namespace: b}\nspec: {suspend: false}\n"
		runs    = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: NAME, namespace: b}\nspec: {template: {spec: {containers: [{name: c, image: 'mirror/NAME:v1'}]}}}\n"
		policy  = "---\napiVersion: image.toolkit.fluxcd.io/v1\nkind: ImagePolicy\nmetadata: {name: p, namespace: b}\n"
	)
	flux2 := crd + strings.ReplaceAll(runs, "NAME", "kustomize-controller")
	helm := strings.Replace(strings.ReplaceAll(runs, "NAME", "helm-controller"), "name: helm-controller", "name: x", 1)
	for name, c := range map[string]struct {
		manifest string
		change   func(*Job)
		fault    string
	}{
		"no helm-controller":               {flux2 + release, nil, "HelmRelease b/r: nothing serves it: the chart of Flux does not run the helm-controller"},
		"one by its image":                 {flux2 + release + helm, nil, ""},
		"a suspended one":                  {flux2 + strings.Replace(release, "false", "true", 1), nil, ""},
		"a kind that is not there":         {flux2 + policy, nil, "image-reflector-controller"},
		"a chart of another kind":          {crd + release, nil, ""},
		"controllers of an operator":       {flux2 + release + "---\napiVersion: fluxcd.controlplane.io/v1\nkind: FluxInstance\nmetadata: {name: flux, namespace: b}\n", nil, ""},
		"a path that is not rendered":      {flux2 + release + "---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: k, namespace: b}\nspec: {path: elsewhere}\n", nil, ""},
		"a cluster of somebody else":       {flux2 + release, func(j *Job) { j.docs.Cluster.Spec.Provider.Existing = &config.Existing{} }, ""},
		"simulated nodes, where none runs": {flux2 + release, func(j *Job) { j.simulated = true }, ""},
		"a rehearsal":                      {flux2 + release, func(j *Job) { j.simulated, j.tools.Borrowed = true, true }, "helm-controller"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := config.ClusterSpec{Source: &config.Source{}, Reconciler: config.Reconciler{Flux: &config.Flux{}}}
			j := &Job{docs: &config.Documents{Cluster: &config.Cluster{Spec: spec}}, stack: &stacks.Stack{}, follower: flux.New(config.Flux{})}
			j.render(t, c.manifest)
			j.rendered.Path = "clusters/prod"
			if c.change != nil {
				c.change(j)
			}
			_, err := j.checkKinds().Do(t.Context(), nil)
			if (err == nil) != (c.fault == "") || err != nil && (fault.Code(err) != fault.ExitUsage || !strings.Contains(fault.Text(err), c.fault)) {
				t.Errorf("%v", err)
			}
		})
	}
}

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
			"names what is to be applied (../prod/…). Leave clusters/prod itself without one", ""},
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
