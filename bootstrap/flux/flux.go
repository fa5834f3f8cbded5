// Package flux is the reconciler Flux: install it, point it at the repository, prove that it is in sync.
//
// What it makes are plain Flux objects, one GitRepository and one Kustomization, which go on working
// if rekindle is never run again. The controllers come as an ordinary release of the stack, or on
// simulated nodes as processes of the host.
package flux

import (
	"maps"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/providers"
)

// What is used where the documents do not say.
const (
	DefaultNamespace = "flux-system"
	DefaultChart     = "oci://ghcr.io/fluxcd-community/charts/flux2"
	DefaultVersion   = "2.17.0"

	defaultTimeout  = 5 * time.Minute
	defaultInterval = time.Minute
	releaseName     = "flux"
)

// nameField of the documents gives the GitRepository and the Kustomization another name.
const nameField = "spec.reconciler.flux.name"

// namespaceField of the documents gives them, and the controllers, another namespace.
const namespaceField = "spec.reconciler.flux.namespace"

const (
	sourceGroup    = "source.toolkit.fluxcd.io"
	kustomizeGroup = "kustomize.toolkit.fluxcd.io"
	version        = "v1"

	kindRepository    = "GitRepository"
	kindKustomization = "Kustomization"
)

// Flux is the reconciler as the documents want it.
type Flux struct {
	spec config.Flux
}

// New fills in what the documents do not say.
func New(spec config.Flux) *Flux {
	if spec.Namespace == "" {
		spec.Namespace = DefaultNamespace
	}
	if spec.Name == "" {
		spec.Name = config.DefaultFluxName
	}
	if spec.ServiceAccountName == "" && locksTenants(spec.Values) {
		spec.ServiceAccountName = "kustomize-controller"
	}
	if spec.Chart == "" {
		spec.Chart = DefaultChart
		if spec.Version == "" {
			spec.Version = DefaultVersion
		}
	}
	if spec.Timeout.Duration == 0 {
		spec.Timeout.Duration = defaultTimeout
	}
	return &Flux{spec: spec}
}

// locksTenants says whether the values of the chart have Kustomizations that name no account apply as one which may do nothing.
func locksTenants(values map[string]any) bool {
	tenancy, _ := values["multitenancy"].(map[string]any)
	return tenancy["enabled"] == true
}

// Name is what people call it.
func (f *Flux) Name() string { return "Flux" }

// Release installs the controllers and their CRDs.
func (f *Flux) Release() config.Release {
	return config.Release{
		Name: releaseName, Namespace: f.spec.Namespace, Chart: f.spec.Chart,
		Version: f.spec.Version, Digest: f.spec.Digest, Values: valuesWithArgs(f.spec.Values, f.spec.Version),
	}
}

// Timeout bounds one reconciliation.
func (f *Flux) Timeout() time.Duration { return f.spec.Timeout.Duration }

// mendAtOnce lets a commit that mends another one not wait until that one's health checks have timed out.
const mendAtOnce = "--feature-gates=CancelHealthCheckOnNewRevision=true"

// valuesWithArgs adds mendAtOnce where the documents leave the controller's arguments open and the chart's version
// brings a controller that knows it (2.17.0 has Flux 2.7).
func valuesWithArgs(values map[string]any, version string) map[string]any {
	v, err := semver.NewVersion(version)
	if err != nil || v.LessThan(semver.New(2, 17, 0, "", "")) {
		return values
	}
	controller, _ := values["kustomizeController"].(map[string]any)
	container, _ := controller["container"].(map[string]any)
	if _, set := container["additionalArgs"]; set {
		return values
	}
	return with(values, "kustomizeController", with(controller, "container", with(container, "additionalArgs", []any{mendAtOnce})))
}

// with is a copy of a map with one more key.
func with(m map[string]any, key string, value any) map[string]any {
	out := maps.Clone(m)
	if out == nil {
		out = map[string]any{}
	}
	out[key] = value
	return out
}

// Folders of a controller. Whoever reaches source-controller's port reads and lists all of the first one, so nothing but
// artifacts may be in it: working clones and chart builds go into the second.
const (
	storageFolder = "storage"
	workFolder    = "work"
)

// HostProcesses are the controllers as processes of the host, for clusters whose nodes run nothing.
func (f *Flux) HostProcesses() []providers.HostProcess {
	const storage = `127.0.0.1:{{.Port "source-storage"}}`
	return []providers.HostProcess{
		f.controller("source-controller",
			"--storage-path={{.Dir}}/"+storageFolder, "--storage-addr="+storage, "--storage-adv-addr="+storage),
		f.controller("kustomize-controller", "--requeue-dependency=5s", mendAtOnce),
	}
}

func (f *Flux) controller(name string, args ...string) providers.HostProcess {
	health := `127.0.0.1:{{.Port "` + name + `-health"}}`
	return providers.HostProcess{
		Name: name, Asset: name,
		Args: append(args, "--enable-leader-election=false", "--metrics-addr=127.0.0.1:0", "--health-addr="+health,
			"--watch-all-namespaces=true", "--log-level=info"),
		Env: map[string]string{
			"KUBECONFIG": "{{.Kubeconfig}}", "RUNTIME_NAMESPACE": f.spec.Namespace, "HOME": "{{.Dir}}/" + workFolder, "TMPDIR": "{{.Dir}}/" + workFolder,
		},
		Folders: []string{storageFolder, workFolder},
		Ready:   "http://" + health + "/readyz",
	}
}

func (f *Flux) repositoryRef() kube.Ref {
	return kube.Ref{Group: sourceGroup, Version: version, Kind: kindRepository, Namespace: f.spec.Namespace, Name: f.spec.Name}
}

func (f *Flux) kustomizationRef() kube.Ref {
	return kube.Ref{Group: kustomizeGroup, Version: version, Kind: kindKustomization, Namespace: f.spec.Namespace, Name: f.spec.Name}
}
