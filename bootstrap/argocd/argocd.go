// Package argocd is the reconciler Argo CD: install it, point it at the repository, prove that it is in sync.
//
// What it makes are plain objects of Argo CD: one Application with a project of its own, and a Secret with the way
// into the repository. They go on working if rekindle is never run again. The controllers come as an ordinary release
// of the stack.
package argocd

import (
	"maps"
	"time"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// What is used where the documents do not say. The chart has no version here: versions live in the repository.
const (
	DefaultNamespace = "argocd"
	DefaultChart     = "oci://ghcr.io/argoproj/argo-helm/argo-cd"

	releaseName = "argocd"
)

const (
	group   = "argoproj.io"
	version = "v1alpha1"

	kindApplication = "Application"
	kindProject     = "AppProject"
	kindSet         = "ApplicationSet"
)

// repositoryName is the name of the Secret that tells Argo CD the way into the repository.
const repositoryName = "rekindle-repository"

// namespaceField of the documents gives the objects another namespace.
const namespaceField = "spec.reconciler.argocd.namespace"

// ArgoCD is the reconciler as the documents want it.
type ArgoCD struct {
	spec     config.ArgoCD
	name     string // of the Application and its project
	interval time.Duration
}

// New fills in what the documents do not say. The Application has the name of the cluster's document; interval is how
// often Argo CD looks at the repository by itself, 0 for its own default.
func New(spec config.ArgoCD, name string, interval time.Duration) *ArgoCD {
	if spec.Namespace == "" {
		spec.Namespace = DefaultNamespace
	}
	if spec.Chart == "" {
		spec.Chart = DefaultChart
	}
	return &ArgoCD{spec: spec, name: name, interval: interval}
}

// Name is what people call it.
func (a *ArgoCD) Name() string { return "Argo CD" }

// Release installs the controllers and their CRDs.
func (a *ArgoCD) Release() config.Release {
	return config.Release{
		Name: releaseName, Namespace: a.spec.Namespace, Chart: a.spec.Chart,
		Version: a.spec.Version, Digest: a.spec.Digest, Values: a.values(),
	}
}

// values are those of the documents, with the interval where they leave it open.
func (a *ArgoCD) values() map[string]any {
	const key = "timeout.reconciliation"
	configs, _ := a.spec.Values["configs"].(map[string]any)
	cm, _ := configs["cm"].(map[string]any)
	if _, set := cm[key]; set || a.interval == 0 {
		return a.spec.Values
	}
	return with(a.spec.Values, "configs", with(configs, "cm", with(cm, key, a.interval.String())))
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

// Timeout is none: an operation of Argo CD goes on until it has ended.
func (a *ArgoCD) Timeout() time.Duration { return 0 }

func (a *ArgoCD) ref(kind string) kube.Ref {
	return kube.Ref{Group: group, Version: version, Kind: kind, Namespace: a.spec.Namespace, Name: a.name}
}

func (a *ArgoCD) applicationRef() kube.Ref { return a.ref(kindApplication) }

func (a *ArgoCD) repositoryRef() kube.Ref {
	return kube.Ref{Version: "v1", Kind: "Secret", Namespace: a.spec.Namespace, Name: repositoryName}
}

// controllers are the workloads that have to run for anything to happen, as the chart names them.
func (a *ArgoCD) controllers() []kube.Ref {
	refs := []kube.Ref{{Group: "apps", Version: "v1", Kind: "StatefulSet", Namespace: a.spec.Namespace, Name: releaseName + "-application-controller"}}
	for _, name := range []string{releaseName + "-repo-server", releaseName + "-redis"} {
		refs = append(refs, kube.Ref{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: a.spec.Namespace, Name: name})
	}
	return refs
}
