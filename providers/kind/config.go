package kind

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// Settings say what containers to make.
type Settings struct {
	Config []byte // a kind.x-k8s.io/v1alpha4 file, taken as it is; excludes Nodes
	File   string // where Config came from, for messages
	Nodes  int    // number of nodes, the first the control plane; 0 is 1
	Image  string // node image of nodes that name none; empty is kind's own
}

// SwiftBoot is the kubeadm patch of clusters that no kind configuration describes. While it starts, the controller manager makes a
// ServiceAccount and a token for each of its controllers, and with its default of 20 requests a second no DaemonSet is
// seen for 5 s after the node is there, kube-proxy's neither. And a single control plane has nobody to elect.
const SwiftBoot = `kind: ClusterConfiguration
controllerManager:
  extraArgs: {kube-api-qps: "100", kube-api-burst: "200", leader-elect: "false"}
scheduler:
  extraArgs: {leader-elect: "false"}
`

// effective gives the configuration that kind gets, without marks.
func (s Settings) effective() (*v1alpha4.Cluster, error) {
	cfg := &v1alpha4.Cluster{}
	if len(s.Config) > 0 {
		if err := yaml.UnmarshalStrict(s.Config, cfg); err != nil {
			return nil, fault.Wrap(err, fault.Usage, "not a valid kind configuration").At(s.File, 0).
				WithHint("https://kind.sigs.k8s.io/docs/user/configuration describes the fields")
		}
		if cfg.APIVersion != "kind.x-k8s.io/v1alpha4" || cfg.Kind != "Cluster" {
			return nil, fault.New(fault.Usage, "apiVersion %q, kind %q: must be kind.x-k8s.io/v1alpha4, Cluster", cfg.APIVersion, cfg.Kind).At(s.File, 0)
		}
	}
	if len(s.Config) == 0 {
		cfg.KubeadmConfigPatches = []string{SwiftBoot}
	}
	for i := len(cfg.Nodes); i < s.Nodes; i++ {
		role := v1alpha4.WorkerRole
		if i == 0 {
			role = v1alpha4.ControlPlaneRole
		}
		cfg.Nodes = append(cfg.Nodes, v1alpha4.Node{Role: role})
	}
	if len(cfg.Nodes) == 0 {
		cfg.Nodes = []v1alpha4.Node{{Role: v1alpha4.ControlPlaneRole}}
	}
	for i := range cfg.Nodes {
		if cfg.Nodes[i].Image == "" {
			cfg.Nodes[i].Image = s.image()
		}
	}
	return cfg, nil
}

// bringsNoNetwork says whether the nodes cannot get Ready before a stack brings a network plugin.
func (s Settings) bringsNoNetwork() bool {
	cfg, err := s.effective()
	return err == nil && cfg.Networking.DisableDefaultCNI
}

func (s Settings) image() string {
	if s.Image != "" {
		return s.Image
	}
	return defaults.Image
}

// hash is the digest of what a user asks for, short enough for a path. What kind and rekindle add to that (the node image of a
// release, SwiftBoot) is not in it: a newer build of the command would disown the clusters of the one before.
func (s Settings) hash() (string, error) {
	config, err := yaml.YAMLToJSON(s.Config) // comments and layout do not count
	if err != nil {
		return "", fault.Wrap(err, fault.Usage, "not a valid kind configuration").At(s.File, 0)
	}
	raw, err := json.Marshal(struct {
		Config json.RawMessage
		Nodes  int
		Image  string
	}{config, max(s.Nodes, 1), s.Image})
	if err != nil {
		return "", fmt.Errorf("hash the configuration: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8]), nil
}

// marked gives a copy of the configuration in which every node carries the mark.
func marked(cfg *v1alpha4.Cluster, m mark) *v1alpha4.Cluster {
	out := cfg.DeepCopy()
	for i := range out.Nodes {
		out.Nodes[i].ExtraMounts = append(out.Nodes[i].ExtraMounts, v1alpha4.Mount{
			HostPath: "/dev/null", ContainerPath: m.path(), Readonly: true,
		})
	}
	return out
}
