// Package modules holds the small Go modules from which the programs of the node image are built.
package modules

import (
	"embed"
	"fmt"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

//go:embed *.txtar
var archives embed.FS

// Node gives the modules of the programs on a node, and of the images that a node begins with. The
// control plane's own programs are not among them: they are those of simulated clusters.
func Node() ([]assets.Module, error) {
	const cni = "github.com/containernetworking/plugins/plugins/"
	all := []assets.Module{
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
	kubernetes := kwok.KubernetesModule()
	kubernetes.Programs = programs("k8s.io/kubernetes/cmd/", "kubelet", "kubeadm", "kubectl", "kube-proxy")
	return append(all, kubernetes), nil
}

func programs(prefix string, names ...string) []assets.Program {
	all := make([]assets.Program, len(names))
	for i, name := range names {
		all[i] = assets.Program{Name: name, Package: prefix + name}
	}
	return all
}
