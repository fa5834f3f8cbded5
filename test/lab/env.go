package lab

import (
	"fmt"
	"os"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"

	"github.com/rekindle-dev/rekindle/providers/kind"
)

// Env is what a test needs to know of a lab that is up.
type Env struct {
	Registry string // host:port, serves charts and images
	Node     string // the node image
	Gateway  string // this machine's address as a pod reaches it
	Quirks   Quirks
}

// KindConfig gives a kind configuration as its author wrote it, with the lab's node image and what
// this machine's quirks want. One that patches nothing boots as rekindle's own clusters do.
func (e *Env) KindConfig(raw []byte) ([]byte, error) {
	var cfg v1alpha4.Cluster
	if err := yaml.UnmarshalStrict(raw, &cfg); err != nil {
		return nil, err
	}
	if len(cfg.Nodes) == 0 {
		cfg.Nodes = []v1alpha4.Node{{Role: v1alpha4.ControlPlaneRole}}
	}
	for i := range cfg.Nodes {
		cfg.Nodes[i].Image = e.Node
	}
	cfg.Networking.KubeProxyMode = v1alpha4.NFTablesProxyMode
	if len(cfg.KubeadmConfigPatches) == 0 {
		cfg.KubeadmConfigPatches = []string{kind.SwiftBoot}
	}
	kubeadm, containerd := e.Quirks.KindPatches()
	cfg.KubeadmConfigPatches = append(cfg.KubeadmConfigPatches, kubeadm...)
	cfg.ContainerdConfigPatches = append(cfg.ContainerdConfigPatches, containerd...)
	return yaml.Marshal(cfg)
}

// WriteKindConfig is KindConfig on a file, in place.
func (e *Env) WriteKindConfig(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if raw, err = e.KindConfig(raw); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, raw, 0o644)
}
