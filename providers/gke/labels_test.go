package gke_test

import (
	"path/filepath"
	"strings"
	"testing"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/grpc/codes"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	emulator "github.com/rekindle-dev/rekindle/test/gke"
)

func TestLabelsOfOthersStay(t *testing.T) {
	s := start(t, emulator.Options{})
	settings := small()
	settings.Labels = map[string]string{"team": "shop"}
	c, _ := ensured(t, provider(t, s, settings), "labelled")
	defer removed(t, provider(t, s, settings), "labelled")
	client, name := stranger(t, s), "projects/"+project+"/locations/"+zone+"/clusters/labelled"
	labels := func() map[string]string {
		wire, err := client.GetCluster(t.Context(), &containerpb.GetClusterRequest{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		return wire.GetResourceLabels()
	}
	wire, err := client.GetCluster(t.Context(), &containerpb.GetClusterRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	theirs := labels()
	theirs["mesh_id"] = "proj-1"
	if _, err := client.SetLabels(t.Context(), &containerpb.SetLabelsRequest{Name: name, ResourceLabels: theirs, LabelFingerprint: wire.GetLabelFingerprint()}); err != nil {
		t.Fatal(err)
	}

	again, _ := ensured(t, provider(t, s, settings), "labelled")
	if again.Outcome != plan.Unchanged || labels()["mesh_id"] != "proj-1" {
		t.Errorf("%s, labels %v", again.Outcome, labels())
	}
	settings.Labels = map[string]string{"team": "store"}
	again, _ = ensured(t, provider(t, s, settings), "labelled")
	if got := labels(); again.Outcome != plan.Changed || got["mesh_id"] != "proj-1" || got["team"] != "store" || got["rekindle-owner"] == "" {
		t.Errorf("%s, labels %v", again.Outcome, got)
	}

	settings.Labels = map[string]string{"team": "other"}
	s.SetScript(emulator.Fault{Method: "SetLabels", Operation: &emulator.Outcome{Error: &emulator.Error{Code: codes.Internal, Message: "out of order"}}})
	_, err = provider(t, s, settings).Ensure(t.Context(), providers.Spec{Name: c.Ref.Name}, nil)
	if fault.KindOf(err) != fault.Failed || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("labels that could not be set: %v", err)
	}
}

// Without a quota of their own, spot nodes are counted as all others.
func TestTheQuotaOfSpotNodes(t *testing.T) {
	spot := config.GKE{Project: project, Location: zone, NodePools: []config.GKENodePool{{Name: "cheap", MachineType: "e2-standard-4", Spot: true}}}
	for name, c := range map[string]struct {
		quotas map[string]float64
		says   string // empty is room enough
	}{
		"none of their own":        {map[string]float64{emulator.MetricCPUs: 8}, ""},
		"none granted":             {map[string]float64{emulator.MetricCPUs: 8, "PREEMPTIBLE_CPUS": 0}, ""},
		"none granted, and no CPU": {map[string]float64{emulator.MetricCPUs: 2, "PREEMPTIBLE_CPUS": 0}, "CPUS: needs 4, 2 more"},
		"their own":                {map[string]float64{emulator.MetricCPUs: 0, "PREEMPTIBLE_CPUS": 8}, ""},
		"their own is too small":   {map[string]float64{emulator.MetricCPUs: 8, "PREEMPTIBLE_CPUS": 2}, "PREEMPTIBLE_CPUS: needs 4, 2 more"},
	} {
		t.Run(name, func(t *testing.T) {
			err := provider(t, start(t, emulator.Options{Quotas: c.quotas}), spot).Preflight(t.Context(), providers.Spec{Name: "x"})
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; %q is wanted", err, c.says)
			}
		})
	}
}

// The kubeconfig works from every folder.
func TestPathsInTheKubeconfigAreAbsolute(t *testing.T) {
	s := start(t, emulator.Options{})
	t.Chdir(filepath.Dir(s.CredentialsFile()))
	p := provider(t, s, small())
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Base(s.CredentialsFile()))
	c, _ := ensured(t, p, "relative")
	defer removed(t, p, "relative")
	for _, user := range c.Kubeconfig.AuthInfos {
		for _, v := range user.Exec.Env {
			if v.Name == "GOOGLE_APPLICATION_CREDENTIALS" && v.Value != s.CredentialsFile() {
				t.Errorf("%s is %s, not %s", v.Name, v.Value, s.CredentialsFile())
			}
		}
	}
}
