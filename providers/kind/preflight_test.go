package kind

import (
	"net"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
)

func TestWithoutDockerThePreflightSaysSo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := New(Settings{}).Preflight(t.Context(), providers.Spec{Name: "x"})
	if fault.Code(err) != fault.ExitFailed || !strings.Contains(err.Error(), "the command docker was not found") || len(fault.Hints(err)) == 0 {
		t.Errorf("%v", fault.Text(err))
	}
	err = New(Settings{Config: []byte("kind: Nothing"), File: "kind.yaml"}).Preflight(t.Context(), providers.Spec{Name: "Not a name"})
	if n := len(fault.All(err)); n != 3 || fault.Code(err) != fault.ExitUsage {
		t.Errorf("%d faults, not all at once: %v", n, err)
	}
}

func TestATakenPortIsFoundBeforehand(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range []string{
		"nodes: [{extraPortMappings: [{containerPort: 80, hostPort: PORT, listenAddress: 127.0.0.1}]}]",
		"nodes: [{extraPortMappings: [{containerPort: 80, hostPort: PORT}]}]", // every address
		"networking: {apiServerPort: PORT, apiServerAddress: 127.0.0.1}",
		"networking: {apiServerPort: PORT}",
	} {
		s := Settings{File: "kind.yaml", Config: []byte("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n" + strings.ReplaceAll(config, "PORT", port))}
		cfg, err := s.effective()
		if err != nil {
			t.Fatal(err)
		}
		err = New(s).portsFree(cfg)
		if err == nil || !strings.Contains(err.Error(), "port "+port+" of this machine is taken") || !strings.HasPrefix(err.Error(), "kind.yaml: ") {
			t.Errorf("%s: %v", config, err)
		}
		cfg.Networking.APIServerPort = 0
		for i := range cfg.Nodes {
			for k := range cfg.Nodes[i].ExtraPortMappings {
				cfg.Nodes[i].ExtraPortMappings[k].Protocol = "UDP"
			}
		}
		if err := New(s).portsFree(cfg); err != nil {
			t.Errorf("the same port of UDP is free: %v", err)
		}
	}
}

// TestAPortIsTakenOnTheAddressOfTheAPIServerAlone: kind lets it listen on that of this machine for itself.
func TestAPortIsTakenOnTheAddressOfTheAPIServerAlone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip("this machine has one address for itself alone")
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := Settings{Config: []byte("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnetworking: {apiServerPort: " + port + "}")}
	cfg, err := s.effective()
	if err != nil {
		t.Fatal(err)
	}
	if err := New(s).portsFree(cfg); err != nil {
		t.Error(err)
	}
}

// TestAFullDiskIsFoundBeforehand: /proc is a file system without a free byte.
func TestAFullDiskIsFoundBeforehand(t *testing.T) {
	err := spaceLeft("/proc")
	if fault.Code(err) != fault.ExitFailed || !strings.Contains(err.Error(), "only 0 MiB are free") || len(fault.Hints(err)) == 0 {
		t.Errorf("%v", err)
	}
	if err := spaceLeft("/no/such/folder"); err != nil {
		t.Errorf("a disk that is not here: %v", err)
	}
}

func TestTheImageTellsTheVersion(t *testing.T) {
	for image, want := range map[string]string{
		"kindest/node:v1.36.1@sha256:0123": "v1.36.1", "localhost:5001/lab/node:v1.37.2-ab12": "v1.37.2",
		"kindest/node": "", "kindest/node:latest": "", "kindest/node@sha256:0123": "",
	} {
		if got := versionOf(image); got != want {
			t.Errorf("%s: %q, want %q", image, got, want)
		}
	}
	for wanted, kind := range map[string]fault.Kind{"1.37": 0, "": 0, "1.36": fault.Usage, "1.37.1": fault.Usage} {
		cfg, err := Settings{Image: "lab/node:v1.37.2-ab12"}.effective()
		if err != nil {
			t.Fatal(err)
		}
		err = imagesFit(cfg, providers.Spec{Name: "x", Version: wanted})
		if (err == nil) != (kind == 0) || err != nil && fault.KindOf(err) != kind {
			t.Errorf("%q: %v", wanted, err)
		}
	}
}
