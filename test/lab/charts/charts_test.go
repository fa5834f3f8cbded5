package charts

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/test/lab/content"
)

// load packs and loads every chart.
func load(t *testing.T) map[string]*helm.Chart {
	t.Helper()
	entries, err := fs.ReadDir(Files(), ".")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*helm.Chart{}
	for _, e := range entries {
		archive, err := helm.Pack(Files(), e.Name())
		if err != nil {
			t.Fatalf("%s: %v", e.Name(), err)
		}
		chart, err := helm.Load(archive)
		if err != nil {
			t.Fatalf("%s: %v", e.Name(), err)
		}
		all[e.Name()] = chart
	}
	if len(all) < 8 {
		t.Fatalf("only %d charts", len(all))
	}
	return all
}

// render renders a chart with its own values.
func render(t *testing.T, c *helm.Chart) []*unstructured.Unstructured {
	t.Helper()
	objects, err := c.Render(c.Name(), "platform", "v1.37.2", nil, nil)
	if err != nil {
		t.Fatalf("%s: %v", c.Name(), err)
	}
	return objects
}

func TestEveryChartIsNamedAfterItsFolder(t *testing.T) {
	for name, c := range load(t) {
		if c.Name() != name {
			t.Errorf("the chart in %s is named %s", name, c.Name())
		}
	}
}

// TestImagesAreInTheTable: a chart that asks for an image that the lab does not make waits for ever.
func TestImagesAreInTheTable(t *testing.T) {
	var known []string
	extra, err := content.Extra("argocd")
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range append(content.Images(), extra...) {
		known = append(known, spec.Ref)
	}
	for name, c := range load(t) {
		rendered := &gitrepo.Rendered{}
		for _, o := range render(t, c) {
			rendered.Objects = append(rendered.Objects, o.Object)
		}
		for _, image := range rendered.Images() {
			if !slices.Contains(known, image) {
				t.Errorf("%s: the image %s is not in the lab's table", name, image)
			}
		}
	}
}

// TestContainersAreConfined: what we write ourselves has no excuse for running as root.
func TestContainersAreConfined(t *testing.T) {
	seen := 0
	for name, c := range load(t) {
		if name == "csi-hostpath" {
			continue // which mounts folders of the node into other pods
		}
		for _, o := range render(t, c) {
			spec, found, err := unstructured.NestedMap(o.Object, "spec", "template", "spec")
			if err != nil || !found {
				continue
			}
			seen++
			at := path.Join(name, strings.ToLower(o.GetKind()), o.GetName())
			if user, _, _ := unstructured.NestedInt64(spec, "securityContext", "runAsUser"); user == 0 {
				t.Errorf("%s: no numeric user", at)
			}
			containers, _, _ := unstructured.NestedSlice(spec, "containers")
			for _, each := range containers {
				container := each.(map[string]any)
				for _, field := range []string{"readinessProbe", "livenessProbe", "resources"} {
					if container[field] == nil {
						t.Errorf("%s: the container %s has no %s", at, container["name"], field)
					}
				}
				if readOnly, _, _ := unstructured.NestedBool(container, "securityContext", "readOnlyRootFilesystem"); !readOnly {
					t.Errorf("%s: the container %s may write to its image", at, container["name"])
				}
			}
		}
	}
	if seen < 8 {
		t.Errorf("only %d workloads seen", seen)
	}
}

// TestWebhookIsWhole: the authority in the configuration must have signed what the server shows,
// and the server's name must be the one that the API server calls.
func TestWebhookIsWhole(t *testing.T) {
	objects := render(t, load(t)["prometheus-operator"])
	find := func(kind string) *unstructured.Unstructured {
		i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == kind })
		if i < 0 {
			t.Fatalf("no %s", kind)
		}
		return objects[i]
	}
	data, _, err := unstructured.NestedStringMap(find("Secret").Object, "data")
	if err != nil {
		t.Fatal(err)
	}
	hooks, _, err := unstructured.NestedSlice(find("ValidatingWebhookConfiguration").Object, "webhooks")
	if err != nil || len(hooks) != 1 {
		t.Fatalf("webhooks: %d, %v", len(hooks), err)
	}
	bundle, _, _ := unstructured.NestedString(hooks[0].(map[string]any), "clientConfig", "caBundle")
	verify(t, bundle, data["tls.crt"], "prometheus-operator-admission-webhook.platform.svc")
}
