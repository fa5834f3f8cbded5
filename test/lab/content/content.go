// Package content is the table of everything that the lab can deploy: the images, and the pinned modules
// that their programs are built from. To add a component, add its module and a line here, and its chart
// beside the others in test/lab/charts.
package content

import (
	"embed"
	"fmt"
	"slices"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/providers/kwok"
	"github.com/rekindle-dev/rekindle/test/lab/image"
)

//go:embed modules/*.txtar
var modules embed.FS

// Module gives a module, as txtar with go.mod, go.sum and tools.go. Those of Flux are the kwok
// provider's, which runs the controllers on the host, and restic is that of the command: what was built for them
// serves here too.
func Module(name string) ([]byte, error) {
	for _, asset := range append([]assets.Asset{state.ResticAsset()}, kwok.Assets()...) {
		if asset.Module != nil && asset.Module.Name == name {
			return asset.Module.Archive, nil
		}
	}
	raw, err := modules.ReadFile("modules/" + name + ".txtar")
	if err != nil {
		return nil, fmt.Errorf("the lab has no module %s: %w", name, err)
	}
	return raw, nil
}

// nobody is the user of an image whose program needs none of its own.
const nobody = "65534:65534"

// Images are all images, named as upstream names them, with the tags that the charts ask for.
func Images() []image.Spec {
	return slices.Concat(platform(), reconciler(), []image.Spec{restic()}, csi(), shop())
}

// platform are the components of the sample stack.
func platform() []image.Spec {
	const operator = "github.com/prometheus-operator/prometheus-operator/cmd/"
	return []image.Spec{
		program("docker.io/bitnami/sealed-secrets-controller:0.40.0", "sealed-secrets",
			"controller", "github.com/bitnami/sealed-secrets/cmd/controller", "-X", "main.VERSION=0.40.0"),
		program("registry.k8s.io/metrics-server/metrics-server:v0.9.0", "metrics-server",
			"metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server"),
		program("ghcr.io/zalando/skipper:v0.21.0", "skipper", "skipper", "github.com/zalando/skipper/cmd/skipper"),
		program("quay.io/prometheus-operator/prometheus-operator:v0.92.0", "prometheus-operator", "operator", operator+"operator"),
		program("quay.io/prometheus-operator/admission-webhook:v0.92.0", "prometheus-operator", "admission-webhook", operator+"admission-webhook"),
		reloader(operator + "prometheus-config-reloader"),
		prometheus(),
		program("quay.io/prometheus/node-exporter:v1.12.1", "node-exporter", "node_exporter", "github.com/prometheus/node_exporter"),
	}
}

// reloader is started by the operator's pods by its path in upstream's image.
func reloader(pkg string) image.Spec {
	s := program("quay.io/prometheus-operator/prometheus-config-reloader:v0.92.0", "prometheus-operator", "prometheus-config-reloader", pkg)
	s.Links = map[string]string{"/bin/prometheus-config-reloader": "/usr/local/bin/prometheus-config-reloader"}
	return s
}

// prometheus discovers its targets in Kubernetes and nowhere else: the other ways are half of its code.
func prometheus() image.Spec {
	s := program("quay.io/prometheus/prometheus:v3.12.0", "prometheus", "prometheus", "github.com/prometheus/prometheus/cmd/prometheus")
	s.Tags = []string{"remove_all_sd", "enable_kubernetes_sd"}
	return s
}

// reconciler are the controllers of Flux.
func reconciler() []image.Spec {
	return []image.Spec{
		program("ghcr.io/fluxcd/source-controller:v1.9.6", "flux", "source-controller", "github.com/fluxcd/source-controller"),
		program("ghcr.io/fluxcd/kustomize-controller:v1.9.4", "flux", "kustomize-controller", "github.com/fluxcd/kustomize-controller"),
	}
}

// restic moves the data of volumes.
func restic() image.Spec {
	s := program("ghcr.io/restic/restic:0.18.1", "restic", "restic", "github.com/restic/restic/cmd/restic")
	s.User = "0:0"
	return s
}

// shop are the programs of the sample repository.
func shop() []image.Spec {
	return []image.Spec{
		{Ref: "ghcr.io/rekindle-dev/shop/backend:1.0.0", App: map[string]string{"backend": "backend"}, Entrypoint: []string{"backend"}, User: nobody},
		{Ref: "ghcr.io/rekindle-dev/shop/frontend:1.0.0", App: map[string]string{"frontend": "frontend"}, Entrypoint: []string{"frontend"}, User: nobody},
		{Ref: "ghcr.io/rekindle-dev/shop/smoke:1.0.0", App: map[string]string{"smoke": "smoke"}, Entrypoint: []string{"smoke"}, User: nobody},
		postgresql(),
	}
}

// program is an image with one static program, which is also its entry point.
func program(ref, module, name, pkg string, ldflags ...string) image.Spec {
	return image.Spec{
		Ref: ref, Module: module, Package: map[string]string{name: pkg}, LDFlags: append([]string{"-s", "-w"}, ldflags...),
		Entrypoint: []string{name}, User: nobody,
	}
}
