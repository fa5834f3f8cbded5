package gke_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
	emulator "github.com/rekindle-dev/rekindle/test/gke"
)

// hasHint says whether what a person is to do has a text in it.
func hasHint(err error, text string) bool {
	return strings.Contains(strings.Join(fault.Hints(err), "\n"), text)
}

// TestTooManyRequestsOfComputeEngineAreNoMissingRole, although it answers them with 403, as what is not allowed: nothing is refused
// for them, and what a cluster left is looked for again while its IDs are known.
func TestTooManyRequestsOfComputeEngineAreNoMissingRole(t *testing.T) {
	limited := &emulator.Error{Code: codes.ResourceExhausted, Message: "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute' of service 'compute.googleapis.com'"}
	s := start(t, emulator.Options{Script: []emulator.Fault{{Method: "compute", Until: -1, Before: limited}}})
	if err := provider(t, s, small()).Preflight(t.Context(), providers.Spec{Name: "x"}); err != nil {
		t.Errorf("before it is made: %v", err)
	}
	s.SetScript(emulator.Fault{Method: "compute", For: seconds(1), Before: limited})
	removed(t, provider(t, s, small()), "x")
}

// TestARefusedImpersonationEndsTheRun: another try would be refused, too, for as long as the run may last.
func TestARefusedImpersonationEndsTheRun(t *testing.T) {
	s := start(t, emulator.Options{})
	key, err := os.ReadFile(s.CredentialsFile())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]any{
		"type": "impersonated_service_account", "source_credentials": json.RawMessage(key),
		"service_account_impersonation_url": s.URL() + "/v1/projects/-/serviceAccounts/deploy@acme.iam.gserviceaccount.com:generateAccessToken",
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "adc.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	_, err = provider(t, s, small()).Find(t.Context(), ref("x"))
	if err == nil || !strings.Contains(err.Error(), "status code 403") || fault.IsTransient(err) || !hasHint(err, "roles/iam.serviceAccountTokenCreator") {
		t.Errorf("transient %t: %v, hints %q", fault.IsTransient(err), err, fault.Hints(err))
	}
}

// TestAQuotaIsNotWaitedFor, whatever code it is told with, and not when it shows after GKE has begun, neither.
func TestAQuotaIsNotWaitedFor(t *testing.T) {
	const text = `Insufficient regional quota to satisfy request: resource "CPUS": request requires '12.0' and is short '4.0'. project has a quota of '8.0' with '8.0' available.`
	for name, f := range map[string]emulator.Fault{
		"as a rate": {Method: "CreateCluster", Until: -1, Before: &emulator.Error{Code: codes.ResourceExhausted, Message: text}},
		"late": {Method: "CreateCluster", Operation: &emulator.Outcome{Condition: "GCE_QUOTA_EXCEEDED",
			Error: &emulator.Error{Code: codes.ResourceExhausted, Message: "Instance 'gke-x-1' creation failed: Quota 'CPUS' exceeded.  Limit: 8.0 in region europe-west6."}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, emulator.Options{Script: []emulator.Fault{f}})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := provider(t, s, small()).Ensure(ctx, providers.Spec{Name: "x"}, nil)
			if err == nil || !strings.Contains(err.Error(), "CPUS") || !hasHint(err, "iam-admin/quotas?project="+project) {
				t.Errorf("%v, hints %q", err, fault.Hints(err))
			}
		})
	}
}

// TestTheNodesAccountIsNamed: that it may not be used is none of the settings' faults.
func TestTheNodesAccountIsNamed(t *testing.T) {
	s := start(t, emulator.Options{Script: []emulator.Fault{{Method: "CreateCluster", Before: &emulator.Error{Code: codes.InvalidArgument,
		Message: `The user does not have access to service account "default". Ask a project owner to grant you the iam.serviceAccountUser role on the service account.`}}}})
	_, err := provider(t, s, small()).Ensure(t.Context(), providers.Spec{Name: "x"}, nil)
	if fault.KindOf(err) != fault.Failed || !hasHint(err, "roles/iam.serviceAccountUser") {
		t.Errorf("%v, hints %q", err, fault.Hints(err))
	}
}

// TestLabelsThatSomebodyChangesMeanwhileAreReadAgain: fleets and meshes set some soon after a cluster is there.
func TestLabelsThatSomebodyChangesMeanwhileAreReadAgain(t *testing.T) {
	s := start(t, emulator.Options{})
	ensured(t, provider(t, s, small()), "labelled")
	s.SetScript(emulator.Fault{Method: "SetLabels", Before: &emulator.Error{Code: codes.FailedPrecondition,
		Message: `Labels could not be set due to fingerprint mismatch; try again with the proper fingerprint: incorrect fingerprint supplied was "a9dc16a7", the expected one is "1f7027a2".`}})
	settings := small()
	settings.Labels = map[string]string{"team": "shop"}
	p := provider(t, s, settings)
	ensured(t, p, "labelled")
	if n := len(s.Calls("SetLabels")); n != 2 {
		t.Errorf("they were set %d times", n)
	}
	removed(t, p, "labelled")
}

// TestWhatIsNotShownIsNotAskedForInALoop: the operation because of which a call is refused may be one that GKE does not show.
func TestWhatIsNotShownIsNotAskedForInALoop(t *testing.T) {
	s := start(t, emulator.Options{})
	p := provider(t, s, small())
	ensured(t, p, "busy")
	s.SetScript(emulator.Fault{Method: "DeleteCluster", For: seconds(2), Before: &emulator.Error{Code: codes.FailedPrecondition,
		Reason: "CLUSTER_ALREADY_HAS_OPERATION", Message: "Cluster is running incompatible operation operation-1731137433803-29e34938."}})
	removed(t, p, "busy")
	if n := len(s.Calls("DeleteCluster")); n > 40 {
		t.Errorf("it was asked for %d times in two seconds", n)
	}
}

// TestNewerMachinesTakeNoPersistentDisks, and so nothing of their quota.
func TestNewerMachinesTakeNoPersistentDisks(t *testing.T) {
	s := start(t, emulator.Options{Quotas: map[string]float64{emulator.MetricCPUs: 72, emulator.MetricSSD: 50}})
	for machine, fits := range map[string]bool{"n4-standard-2": true, "c4a-standard-4": true, "n2-standard-2": false, "": false} {
		settings := config.GKE{Project: project, Location: zone, NodePools: []config.GKENodePool{{Name: "default", MachineType: machine}}}
		if err := provider(t, s, settings).Preflight(t.Context(), providers.Spec{Name: "x"}); (err == nil) != fits {
			t.Errorf("%q: %v", machine, err)
		}
	}
}

// TestThePoolsOfAutopilotAreGooglesOwn: nobody else can mend one, and others take the pods meanwhile.
func TestThePoolsOfAutopilotAreGooglesOwn(t *testing.T) {
	s := start(t, emulator.Options{Script: []emulator.Fault{{Method: "CreateCluster", Operation: &emulator.Outcome{Pool: "RUNNING_WITH_ERROR"}}}})
	p := provider(t, s, config.GKE{Project: project, Location: "europe-west6", Autopilot: true})
	ensured(t, p, "auto")
	if err := p.Delete(t.Context(), ref("auto"), nil); err != nil {
		t.Error(err)
	}
}

// TestAllLabelsFit: ours come on top of the document's.
func TestAllLabelsFit(t *testing.T) {
	s := start(t, emulator.Options{})
	settings := small()
	settings.Labels = map[string]string{}
	for i := range 60 {
		settings.Labels[fmt.Sprintf("label-%d", i)] = "x"
	}
	p := provider(t, s, settings)
	if err := p.Preflight(t.Context(), providers.Spec{Name: "x"}); err != nil {
		t.Error(err)
	}
	err := p.Preflight(t.Context(), providers.Spec{Name: "x", Run: "run-1", TTL: time.Hour})
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "65 labels") {
		t.Errorf("with those of an ephemeral cluster: %v", err)
	}
}
