package kind

import (
	"os"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
)

func TestMarkComesBack(t *testing.T) {
	for name, m := range map[string]mark{
		"stays":     {hash: "0a1b2c3d4e5f6071", created: time.Unix(1_800_000_000, 0)},
		"ephemeral": {hash: "ff", run: "ci-7", network: true, created: time.Unix(1, 0), expires: time.Unix(1_800_007_200, 0)},
	} {
		got, ok := parseMark(m.path())
		if !ok || got != m {
			t.Errorf("%s: %q came back as %+v, want %+v", name, m.path(), got, m)
		}
		if strings.ContainsAny(m.path(), ":, \t\"'") {
			t.Errorf("%s: %q needs quoting", name, m.path())
		}
	}
	for _, other := range []string{"/kind/rekindle.complete", "/kind/rekindle", "/lib/modules", "", "/kind/rekindle/created-1/mark"} {
		if _, ok := parseMark(other); ok {
			t.Errorf("%q is taken for a mark", other)
		}
	}
}

func TestOwnerWantsEveryNodeMarked(t *testing.T) {
	m := &mark{hash: "aa"}
	if _, err := owner(nil); err != providers.ErrNotFound {
		t.Errorf("no nodes: %v", err)
	}
	if _, err := owner([]container{{Mark: m}, {}}); err != providers.ErrNotOwned {
		t.Errorf("one node is not ours: %v", err)
	}
	if got, err := owner([]container{{Mark: m}, {Mark: m}}); err != nil || got != m {
		t.Errorf("ours: %v, %v", got, err)
	}
	balancer := container{Role: balancerRole}
	if got, err := owner([]container{balancer, {Mark: m}, {Mark: m}}); err != nil || got != m {
		t.Errorf("ours, with a balancer: %v, %v", got, err)
	}
	if _, err := owner([]container{balancer}); err != providers.ErrNotOwned {
		t.Errorf("a balancer alone: %v", err)
	}
	if _, err := owner([]container{balancer, {Mark: m}, {}}); err != providers.ErrNotOwned {
		t.Errorf("with a balancer, one node is not ours: %v", err)
	}
}

func TestConfigIsTakenAsItIs(t *testing.T) {
	raw := []byte(`kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking: {kubeProxyMode: nftables}
nodes:
- role: control-plane
  extraPortMappings: [{containerPort: 30080, hostPort: 8080}]
  extraMounts: [{hostPath: /a, containerPath: /b}]
- role: worker
  image: example.com/node:v1
`)
	s := Settings{Config: raw, File: "kind.yaml", Image: "example.com/node:v2"}
	cfg, err := s.effective()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Networking.KubeProxyMode != v1alpha4.NFTablesProxyMode || len(cfg.Nodes) != 2 ||
		len(cfg.KubeadmConfigPatches) != 0 || cfg.Nodes[0].Image != "example.com/node:v2" || cfg.Nodes[1].Image != "example.com/node:v1" {
		t.Errorf("effective: %+v", cfg)
	}
	out := marked(cfg, mark{hash: "0a1b", created: time.Unix(1, 0)})
	for i, n := range out.Nodes {
		last := n.ExtraMounts[len(n.ExtraMounts)-1]
		if m, ok := parseMark(last.ContainerPath); !ok || m.hash != "0a1b" || !last.Readonly {
			t.Errorf("node %d carries %+v", i, last)
		}
	}
	if len(cfg.Nodes[0].ExtraMounts) != 1 {
		t.Error("marking changed the configuration that it was given")
	}
}

// A cluster is known again by what its user wrote. The constants may never change: clusters exist that are marked with them.
func TestTheHashIsOfWhatTheUserWrote(t *testing.T) {
	const file = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes: [{role: control-plane}, {role: worker}]\n"
	for name, c := range map[string]struct {
		settings Settings
		want     string
	}{
		"nothing":       {Settings{}, "9972c3802bdb66ff"},
		"one node":      {Settings{Nodes: 1}, "9972c3802bdb66ff"},
		"two nodes":     {Settings{Nodes: 2}, "774b8901e03c19b2"},
		"an image":      {Settings{Image: "example.com/node:v1"}, "b4727c83200bb93c"},
		"a file":        {Settings{Config: []byte(file)}, "7f8059333407a586"},
		"the same file": {Settings{Config: []byte("# mine\n" + strings.Replace(file, "kind: Cluster\n", "", 1) + "kind: Cluster\n"), File: "elsewhere.yaml"}, "7f8059333407a586"},
	} {
		if got, err := c.settings.hash(); got != c.want || err != nil {
			t.Errorf("%s: %s, %v; want %s", name, got, err, c.want)
		}
	}
}

func TestBadConfigIsAUsageFault(t *testing.T) {
	for name, raw := range map[string]string{
		"unknown field": "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodez: []\n",
		"old version":   "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha3\n",
		"not yaml":      "{",
	} {
		_, err := Settings{Config: []byte(raw), File: "kind.yaml"}.effective()
		if fault.Code(err) != fault.ExitUsage || !strings.HasPrefix(err.Error(), "kind.yaml: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNodesAreCounted(t *testing.T) {
	cfg, err := Settings{Nodes: 3}.effective()
	if err != nil || len(cfg.Nodes) != 3 || len(cfg.KubeadmConfigPatches) != 1 || cfg.Nodes[0].Role != v1alpha4.ControlPlaneRole || cfg.Nodes[2].Role != v1alpha4.WorkerRole {
		t.Errorf("%v %+v", err, cfg)
	}
}

func TestContainersAreRead(t *testing.T) {
	raw, err := os.ReadFile("testdata/inspect.json")
	if err != nil {
		t.Fatal(err)
	}
	all, err := parseContainers(raw)
	if err != nil || len(all) != 2 {
		t.Fatalf("%v %+v", err, all)
	}
	if c := all[0]; c.Name != "shop-control-plane" || c.Cluster != "shop" || c.Role != "control-plane" || !c.Running || c.Mark == nil || c.Mark.hash != "0a1b2c3d4e5f6071" {
		t.Errorf("first: %+v", c)
	}
	if c := all[1]; c.Mark != nil || c.Running {
		t.Errorf("second: %+v", c)
	}
}

func TestKindsLinesBecomeReasons(t *testing.T) {
	for in, want := range map[string]string{
		" • Starting control-plane 🕹️  ...\n": "starting control-plane",
		" ✓ Starting control-plane 🕹️\n":      "",
		"Creating cluster \"shop\" ...\n":     "creating cluster \"shop\"",
		"":                                    "",
	} {
		if got := plain(in); got != want {
			t.Errorf("%q gives %q, want %q", in, got, want)
		}
	}
}

func TestVersionFits(t *testing.T) {
	c := &providers.Cluster{Version: "v1.37.2"}
	for wanted, fits := range map[string]bool{"": true, "1.37": true, "1.37.2": true, "v1.37": true, "1.3": false, "1.36": false, "1.37.1": false} {
		if err := versionFits(c, wanted); (err == nil) != fits {
			t.Errorf("%q: %v", wanted, err)
		}
	}
}
