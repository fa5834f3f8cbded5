// Package modules holds the small Go modules from which the programs of the node image are built.
package modules

import (
	"embed"
	"fmt"
	"strings"

	"github.com/rekindle-dev/rekindle/internal/assets"
)

//go:embed *.txtar
var archives embed.FS

// Node gives the modules of the programs on a node, and of the images that a node begins with.
func Node(kubeVersion string) ([]assets.Module, error) {
	const cni = "github.com/containernetworking/plugins/plugins/"
	all := []assets.Module{
		{Name: "kubernetes", LDFlags: kubeFlags(kubeVersion), Programs: programs("k8s.io/kubernetes/cmd/",
			"kubelet", "kubeadm", "kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")},
		{Name: "containerd", Tags: []string{"no_aufs", "no_zfs", "no_btrfs", "no_devmapper"},
			LDFlags:  []string{"-s", "-w", "-X", "github.com/containerd/containerd/v2/version.Version=2.4.2"},
			Programs: programs("github.com/containerd/containerd/v2/cmd/", "containerd", "containerd-shim-runc-v2", "ctr")},
		{Name: "cri-tools", LDFlags: []string{"-s", "-w"}, Programs: programs("sigs.k8s.io/cri-tools/cmd/", "crictl")},
		{Name: "cni", LDFlags: []string{"-s", "-w"}, Programs: []assets.Program{
			{Name: "bridge", Package: cni + "main/bridge"}, {Name: "loopback", Package: cni + "main/loopback"},
			{Name: "ptp", Package: cni + "main/ptp"}, {Name: "host-local", Package: cni + "ipam/host-local"},
			{Name: "portmap", Package: cni + "meta/portmap"}}},
		{Name: "coredns", LDFlags: []string{"-s", "-w"}, Programs: []assets.Program{{Name: "coredns", Package: "."}}},
		{Name: "local-path-provisioner", LDFlags: []string{"-s", "-w"}, Programs: programs("github.com/rancher/", "local-path-provisioner")},
	}
	for i := range all {
		raw, err := archives.ReadFile(all[i].Name + ".txtar")
		if err != nil {
			return nil, fmt.Errorf("module %s: %w", all[i].Name, err)
		}
		all[i].Archive = raw
	}
	return all, nil
}

func programs(prefix string, names ...string) []assets.Program {
	all := make([]assets.Program, len(names))
	for i, name := range names {
		all[i] = assets.Program{Name: name, Package: prefix + name}
	}
	return all
}

// kubeFlags set the version that kubeadm compares, exactly as the kwok provider builds it: the two
// share what the compiler has cached.
func kubeFlags(version string) []string {
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	flags := []string{"-s", "-w"}
	for _, set := range []string{
		"k8s.io/component-base/version.gitVersion=" + version,
		"k8s.io/component-base/version.gitMajor=" + parts[0],
		"k8s.io/component-base/version.gitMinor=" + parts[1],
		"k8s.io/component-base/version.gitTreeState=clean",
		"k8s.io/client-go/pkg/version.gitVersion=" + version,
	} {
		flags = append(flags, "-X", set)
	}
	return flags
}
