package gke_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/grpc/codes"
	"k8s.io/client-go/kubernetes"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/gke"
	emulator "github.com/rekindle-dev/rekindle/test/gke"
)

func TestPreflight(t *testing.T) {
	s := start(t, emulator.Options{Quotas: map[string]float64{emulator.MetricCPUs: 8}})
	big := config.GKE{Project: project, Location: "europe-west6", NodePools: []config.GKENodePool{{Name: "big", MachineType: "e2-standard-4"}}}
	stable := small()
	stable.Channel = "stable"
	extended := small()
	extended.Channel = "extended"
	denied := func(reason, message string) emulator.Fault {
		return emulator.Fault{Method: "GetCluster", Before: &emulator.Error{Code: codes.PermissionDenied, Reason: reason, Message: message}}
	}
	inCompute := func(reason, message string) emulator.Fault {
		return emulator.Fault{Method: "compute", Before: &emulator.Error{Code: codes.PermissionDenied, Reason: reason, Message: message}}
	}
	countedOn := func(reason, message string) emulator.Fault {
		f := denied(reason, message)
		f.Before.Consumer = "projects/4711"
		return f
	}
	for name, c := range map[string]struct {
		settings config.GKE
		spec     providers.Spec
		script   []emulator.Fault
		kind     fault.Kind
		faults   []string // each is told, no others are
		hint     string
	}{
		"good":              {settings: small(), spec: providers.Spec{Name: "x", Version: "1.37"}},
		"good, a channel":   {settings: stable, spec: providers.Spec{Name: "x", Version: "v1.37.2"}},
		"quota and version": {settings: big, spec: providers.Spec{Name: "x", Version: "1.9"}, kind: fault.Usage, faults: []string{"GKE has no Kubernetes 1.9 in any channel but extended; it has 1.37", "CPUS: needs 12, 4 more"}, hint: "quotas?project=acme"},
		"name and version":  {settings: stable, spec: providers.Spec{Name: "9x", Version: "1.9"}, kind: fault.Usage, faults: []string{"is not a valid name for GKE", "the channel stable"}, hint: "a letter first"},
		"run":               {settings: small(), spec: providers.Spec{Name: "x", Run: "Big"}, kind: fault.Usage, faults: []string{`run's id "Big"`}},
		"API off": {settings: small(), spec: providers.Spec{Name: "x"}, kind: fault.Failed, script: []emulator.Fault{denied("SERVICE_DISABLED", "Kubernetes Engine API has not been used")},
			faults: []string{"has not been used"}, hint: "gcloud services enable container.googleapis.com"},
		"API off in the project of the credentials": {settings: small(), spec: providers.Spec{Name: "x"}, kind: fault.Failed, script: []emulator.Fault{countedOn("SERVICE_DISABLED", "has not been used in project 4711")},
			faults: []string{"has not been used"}, hint: "compute.googleapis.com --project 4711"},
		"project of the credentials": {settings: small(), spec: providers.Spec{Name: "x"}, kind: fault.Failed, script: []emulator.Fault{countedOn("USER_PROJECT_DENIED", "Caller does not have required permission to use project 4711.")},
			faults: []string{"to use project 4711"}, hint: "set-quota-project acme"},
		"only in extended": {settings: small(), spec: providers.Spec{Name: "x", Version: "1.33"}, kind: fault.Usage, faults: []string{"GKE has no Kubernetes 1.33 in any channel but extended; it has 1.37"}, hint: "another channel"},
		"extended":         {settings: extended, spec: providers.Spec{Name: "x", Version: "1.33"}},
		"no permission": {settings: small(), spec: providers.Spec{Name: "x"}, kind: fault.Failed, script: []emulator.Fault{denied("", "Required \"container.clusters.get\" permission")},
			faults: []string{"container.clusters.get"}, hint: "roles/container.admin"},
		"no permission in Compute Engine": {settings: small(), spec: providers.Spec{Name: "x"}, kind: fault.Failed, script: []emulator.Fault{inCompute("", "Required 'compute.regions.get' permission")},
			faults: []string{"compute.regions.get"}, hint: "roles/compute.viewer"},
		"no permission there, Autopilot": {settings: config.GKE{Project: project, Location: "europe-west6", Autopilot: true}, spec: providers.Spec{Name: "x"}, kind: fault.Usage,
			script: []emulator.Fault{inCompute("", "Required 'compute.regions.get' permission")}, faults: []string{"kube-system", "compute.regions.get"}, hint: "roles/compute.viewer"},
		"Autopilot": {settings: config.GKE{Project: project, Location: "europe-west6", Autopilot: true}, spec: providers.Spec{Name: "x"}, kind: fault.Usage,
			faults: []string{"spec.provider.gke.autopilot: nobody but Google may write to the namespace kube-system"}, hint: "nodePools"},
		"no billing": {settings: small(), spec: providers.Spec{Name: "x"}, kind: fault.Failed, script: []emulator.Fault{inCompute("BILLING_DISABLED", "This API method needs money.")},
			faults: []string{"needs money"}, hint: "billing/linkedaccount?project=acme"},
	} {
		t.Run(name, func(t *testing.T) {
			s.SetScript(c.script...)
			err := provider(t, s, c.settings).Preflight(t.Context(), c.spec)
			if got := fault.All(err); len(got) != len(c.faults) {
				t.Fatalf("%d faults: %v", len(got), err)
			}
			for i, one := range fault.All(err) {
				if !strings.Contains(one.Error(), c.faults[i]) {
					t.Errorf("%v; %q is wanted", one, c.faults[i])
				}
			}
			if err != nil && fault.KindOf(err) != c.kind {
				t.Errorf("its kind is %v", fault.KindOf(err))
			}
			if !strings.Contains(strings.Join(fault.Hints(err), "\n"), c.hint) {
				t.Errorf("hints %q", fault.Hints(err))
			}
		})
	}
	if n := len(s.Calls("CreateCluster")) + len(clusters(t, s)); n != 0 {
		t.Error("preflight made something")
	}
}

func TestCredentials(t *testing.T) {
	s := start(t, emulator.Options{})
	spec := providers.Spec{Name: "x"}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none.json"))
	err := provider(t, s, small()).Preflight(t.Context(), spec)
	if err == nil || !strings.Contains(strings.Join(fault.Hints(err), ""), "gcloud auth application-default login") {
		t.Errorf("without credentials: %v, hints %q", err, fault.Hints(err))
	}
	// The key of another emulator is no key of this one.
	other := start(t, emulator.Options{})
	raw, err := os.ReadFile(other.CredentialsFile())
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte(strings.ReplaceAll(string(raw), other.URL(), s.URL())), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", bad)
	err = provider(t, s, small()).Preflight(t.Context(), spec)
	if err == nil || !strings.Contains(err.Error(), "Invalid JWT Signature") || fault.IsTransient(err) {
		t.Errorf("with a key that is not known: %v", err)
	}
	if strings.Contains(err.Error(), "PRIVATE KEY") {
		t.Error("the key is told")
	}
}

func TestEndpoints(t *testing.T) {
	for _, bad := range []string{"http://127.0.0.1:1", "127.0.0.1:1", "https://", "https://host/path"} {
		if _, err := gke.New(gke.Options{Settings: small(), Override: gke.Override{Endpoint: bad}}); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", bad, err)
		}
	}
	s := start(t, emulator.Options{})
	// Google's endpoint, or any other, is not talked to without the certificate that belongs to it.
	p, err := gke.New(gke.Options{Settings: small(), Override: gke.Override{Endpoint: s.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Preflight(t.Context(), providers.Spec{Name: "x"}); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Error(err)
	}
}

// TestEverySetting makes clusters of documents in which everything is said that can be.
func TestEverySetting(t *testing.T) {
	s := start(t, emulator.Options{Networks: []string{"default", "vpc", "nodes"}})
	for file, check := range map[string]func(*testing.T, *containerpb.Cluster){
		"gke.yaml": func(t *testing.T, c *containerpb.Cluster) {
			pools := c.GetNodePools()
			if len(pools) != 2 || !pools[1].GetConfig().GetSpot() || pools[1].GetConfig().GetTaints()[0].GetEffect() != containerpb.NodeTaint_NO_SCHEDULE ||
				pools[1].GetAutoscaling().GetTotalMaxNodeCount() != 9 || pools[0].GetAutoscaling().GetLocationPolicy() != containerpb.NodePoolAutoscaling_BALANCED {
				t.Errorf("pools: %v", pools)
			}
			if !c.GetNetworkConfig().GetDefaultEnablePrivateNodes() || c.GetControlPlaneEndpointsConfig().GetIpEndpointsConfig().GetEnablePublicEndpoint() {
				t.Errorf("it is public: %v", c)
			}
			if c.GetIpAllocationPolicy().GetClusterIpv4CidrBlock() != "10.8.0.0/14" || c.GetIpAllocationPolicy().GetServicesSecondaryRangeName() != "services" {
				t.Errorf("addresses: %v", c.GetIpAllocationPolicy())
			}
		},
		"autopilot.yaml": func(t *testing.T, c *containerpb.Cluster) {
			if !c.GetAutopilot().GetEnabled() {
				t.Error("it is no Autopilot cluster")
			}
		},
	} {
		t.Run(file, func(t *testing.T) {
			docs, err := config.Load("../../internal/config/testdata/good/" + file)
			if err != nil {
				t.Fatal(err)
			}
			settings := *docs.Cluster.Spec.Provider.GKE
			p, spec := provider(t, s, settings), providers.Spec{Name: docs.Cluster.Metadata.Name}
			if err := p.Preflight(t.Context(), spec); err != nil && !settings.Autopilot {
				t.Fatal(err)
			}
			made, err := p.Ensure(t.Context(), spec, nil)
			if err != nil {
				t.Fatal(err)
			}
			in := "projects/" + settings.Project + "/locations/" + settings.Location
			wire, err := stranger(t, s).GetCluster(t.Context(), &containerpb.GetClusterRequest{Name: in + "/clusters/" + spec.Name})
			if err != nil {
				t.Fatal(err)
			}
			check(t, wire)
			byName := settings.ControlPlane != nil && settings.ControlPlane.DNSEndpoint
			if strings.HasPrefix(made.REST.Host, "https://localhost:") != byName {
				t.Errorf("it is reached at %s", made.REST.Host)
			}
			client, err := kubernetes.NewForConfig(made.REST)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Discovery().ServerVersion(); err != nil {
				t.Error(err)
			}
			settings.Labels = map[string]string{"team": "other"}
			again, err := provider(t, s, settings).Ensure(t.Context(), spec, nil)
			if err != nil || again.Outcome != plan.Changed {
				t.Errorf("with other labels: %v, %v", again, err)
			}
			settings.PrivateNodes = !settings.PrivateNodes
			if _, err := provider(t, s, settings).Ensure(t.Context(), spec, nil); fault.KindOf(err) != fault.Refused {
				t.Errorf("with what cannot be changed: %v", err)
			}
			if err := p.Delete(t.Context(), ref(spec.Name), nil); err != nil {
				t.Error(err)
			}
		})
	}
}
