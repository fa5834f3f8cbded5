package kwok

import (
	"embed"
	"fmt"
	"runtime"
	"strings"

	"github.com/rekindle-dev/rekindle/internal/assets"
)

// Versions of the programs of this build. Those of the modules under assets/modules must be the same.
const (
	KubernetesVersion     = "v1.37.2"
	etcdVersion           = "v3.7.3"
	kwokVersion           = "v0.8.0"
	sourceVersion         = "v1.9.6"
	kustomizeVersion      = "v1.9.4"
	etcdName              = "etcd"
	apiserverName         = "kube-apiserver"
	controllerName        = "kube-controller-manager"
	schedulerName         = "kube-scheduler"
	kwokName              = "kwok"
	sourceController      = "source-controller"
	kustomizeController   = "kustomize-controller"
	kubernetesModule      = "kubernetes"
	fluxModule            = "flux"
	kubernetesReleaseBase = "https://dl.k8s.io/release/"
	etcdReleaseBase       = "https://github.com/etcd-io/etcd/releases/download/"
)

//go:embed assets/modules
var modules embed.FS

// Assets are the programs that this provider runs: first those of the control plane, then those
// that can be run on the host.
//
// kwok and the Flux controllers publish no file whose checksum could be checked, so those are always built.
func Assets() []assets.Asset {
	return append(controlPlaneAssets(), controllerAssets()...)
}

func controlPlaneAssets() []assets.Asset {
	etcd := built(etcdName, etcdVersion, "go.etcd.io/etcd/server/v3")
	etcd.Release = etcdRelease()
	kubernetes := KubernetesModule()
	list := []assets.Asset{etcd}
	for _, name := range []string{apiserverName, controllerName, schedulerName} {
		list = append(list, assets.Asset{
			Name: name, Version: KubernetesVersion, Module: &kubernetes, Release: kubernetesRelease(name),
		})
	}
	return append(list, built(kwokName, kwokVersion, "sigs.k8s.io/kwok/cmd/kwok"))
}

// KubernetesModule is the module that the control plane is built from.
func KubernetesModule() assets.Module {
	version := strings.Split(strings.TrimPrefix(KubernetesVersion, "v"), ".")
	flags := []string{"-s", "-w"}
	for _, set := range []string{
		"k8s.io/component-base/version.gitVersion=" + KubernetesVersion,
		"k8s.io/component-base/version.gitMajor=" + version[0],
		"k8s.io/component-base/version.gitMinor=" + version[1],
		"k8s.io/component-base/version.gitTreeState=clean",
		"k8s.io/client-go/pkg/version.gitVersion=" + KubernetesVersion,
	} {
		flags = append(flags, "-X", set)
	}
	m := assets.Module{Name: kubernetesModule, Archive: archive(kubernetesModule), LDFlags: flags}
	for _, name := range []string{apiserverName, controllerName, schedulerName} {
		m.Programs = append(m.Programs, assets.Program{Name: name, Package: "k8s.io/kubernetes/cmd/" + name})
	}
	return m
}

// controllerAssets are built from one module, so that what the controllers share, most of both, is compiled once.
func controllerAssets() []assets.Asset {
	m := assets.Module{Name: fluxModule, Archive: archive(fluxModule), LDFlags: []string{"-s", "-w"}}
	for _, name := range []string{sourceController, kustomizeController} {
		m.Programs = append(m.Programs, assets.Program{Name: name, Package: "github.com/fluxcd/" + name})
	}
	return []assets.Asset{
		{Name: sourceController, Version: sourceVersion, Module: &m},
		{Name: kustomizeController, Version: kustomizeVersion, Module: &m},
	}
}

// built is an asset with a module of its own name.
func built(name, version, pkg string) assets.Asset {
	return assets.Asset{Name: name, Version: version, Module: &assets.Module{
		Name: name, Archive: archive(name), LDFlags: []string{"-s", "-w"},
		Programs: []assets.Program{{Name: name, Package: pkg}},
	}}
}

func archive(name string) []byte {
	raw, err := modules.ReadFile("assets/modules/" + name + ".txtar")
	if err != nil {
		panic(fmt.Sprintf("kwok: no module %s is embedded: %v", name, err))
	}
	return raw
}

// kubernetesRelease is nil where Kubernetes publishes no server programs.
func kubernetesRelease(name string) *assets.Release {
	if runtime.GOOS != "linux" {
		return nil
	}
	url := fmt.Sprintf("%s%s/bin/linux/%s/%s", kubernetesReleaseBase, KubernetesVersion, runtime.GOARCH, name)
	return &assets.Release{URL: url, Sums: url + ".sha256"}
}

func etcdRelease() *assets.Release {
	if runtime.GOOS != "linux" {
		return nil
	}
	name := fmt.Sprintf("etcd-%s-linux-%s", etcdVersion, runtime.GOARCH)
	return &assets.Release{
		URL:    etcdReleaseBase + etcdVersion + "/" + name + ".tar.gz",
		Sums:   etcdReleaseBase + etcdVersion + "/SHA256SUMS",
		Member: name + "/etcd",
	}
}
