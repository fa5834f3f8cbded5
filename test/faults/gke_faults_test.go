package faults

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/test/gke"
)

// The faults of docs/faults.md that concern GKE, done to the whole command. Those of providers/gke have the finer points.

func lasting(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }

func unavailable(message string) *gke.Error {
	return &gke.Error{Code: codes.Unavailable, Message: message}
}

// told is what a report says went wrong, with what to do.
func told(doc report.Document) string {
	var all []string
	for _, f := range doc.Faults {
		all = append(append(all, f.Error), f.Hints...)
	}
	return strings.Join(all, "\n")
}

// madeOnce wants exactly one request to have made a cluster, and none to have met it.
func (g *google) madeOnce() {
	g.t.Helper()
	accepted := 0
	for _, c := range g.server.Calls("CreateCluster") {
		switch c.Code {
		case codes.OK:
			accepted++
		case codes.AlreadyExists:
			g.t.Error("a cluster that was being made was asked for again")
		}
	}
	if accepted != 1 {
		g.t.Errorf("%d requests were accepted: %v", accepted, g.server.Calls("CreateCluster"))
	}
}

// empty wants GKE to have no cluster and Compute Engine nothing of any.
func (g *google) empty() {
	g.t.Helper()
	if out := g.call(0, "list", "--provider", "gke", "--project", "acme-prod"); strings.Contains(out, "complete") {
		g.t.Errorf("clusters are left:\n%s", out)
	}
	if left := g.server.Left(); len(left) > 0 {
		g.t.Errorf("Google is left with %+v", left)
	}
}

// TestGKECanNotMakeIt has what GKE refuses, at once or later: each is told in seconds, nothing is sent twice, and
// nothing is left.
func TestGKECanNotMakeIt(t *testing.T) {
	g := newGoogle(t)
	big := g.cluster("big")
	if err := g.repo.Replace(big, "nodes: 1", "nodes: 3, machineType: e2-standard-32"); err != nil {
		t.Fatal(err)
	}
	none := g.cluster("none")
	for name, c := range map[string]struct {
		file  string
		fault gke.Fault
		asked int
		says  []string
	}{
		"a quota that can be seen before": {big, gke.Fault{}, 0, []string{"CPUS: needs 96, 24 more than is free of the limit of 72", "iam-admin/quotas"}},
		"a quota that GKE tells": {none, gke.Fault{Method: "CreateCluster", Before: &gke.Error{Code: codes.PermissionDenied, Message: `Insufficient regional quota to satisfy request: resource "CPUS": request requires '12.0' and is short '4.0'. project has a quota of '8.0' with '8.0' available.`}},
			1, []string{"CPUS: needs 12, 4 more than is free of the limit of 8", "iam-admin/quotas"}},
		"no machines": {none, gke.Fault{Method: "CreateCluster", Operation: &gke.Outcome{
			Error: &gke.Error{Code: codes.ResourceExhausted, Message: "no resources"}, Condition: "GCE_STOCKOUT", Collected: true,
		}}, 1, []string{"GCE_STOCKOUT", "nodeLocations"}},
	} {
		g.server.SetScript(c.fault)
		before, began := len(g.server.Calls("CreateCluster")), time.Now()
		code, out, doc := g.run("up", c.file)
		if code != 1 || time.Since(began) > time.Minute {
			t.Errorf("%s: exit %d after %s\n%s", name, code, time.Since(began), out)
		}
		for _, text := range c.says {
			if !strings.Contains(told(doc), text) {
				t.Errorf("%s: %q is not in: %s", name, text, told(doc))
			}
		}
		if n := len(g.server.Calls("CreateCluster")) - before; n != c.asked {
			t.Errorf("%s: it was asked for %d times, want %d", name, n, c.asked)
		}
		g.empty()
	}
}

// TestAForeignClusterOnGKE is refused by every command, and is asked for nothing.
func TestAForeignClusterOnGKE(t *testing.T) {
	g := newGoogle(t, gke.Fault{Method: "CreateCluster", Operation: &gke.Outcome{Error: unavailable("it stays half-made, which is enough")}})
	g.stranger("cloud")
	file := g.cluster("cloud")
	calls := len(g.server.Calls("CreateCluster"))
	for _, args := range [][]string{{"up", file}, {"status", file}, {"down", file, "--yes"}} {
		if code, out, doc := g.run(args...); code != 3 || doc.Result != "refused" {
			t.Errorf("%v: exit %d, %s\n%s", args, code, doc.Result, out)
		}
	}
	for _, method := range []string{"DeleteCluster", "SetLabels", "UpdateCluster"} {
		if done := g.server.Calls(method); len(done) > 0 {
			t.Errorf("it was touched: %v", done)
		}
	}
	if now := len(g.server.Calls("CreateCluster")); now != calls {
		t.Errorf("CreateCluster was called %d times", now-calls)
	}
}

// asked says whether a cluster was asked for.
func (g *google) asked(context.Context) (bool, string, error) {
	return len(g.server.Calls("CreateCluster")) > 0, "", nil
}

// stranger makes a cluster by GKE's REST API, as somebody else does.
func (g *google) stranger(name string) {
	g.t.Helper()
	body := strings.NewReader(`{"cluster": {"name": "` + name + `", "nodePools": [{"name": "theirs", "initialNodeCount": 1}]}}`)
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, g.server.URL()+"/v1/projects/acme-prod/locations/europe-west6-a/clusters", body)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.server.Token())
	req.Header.Set("Content-Type", "application/json")
	raw, err := os.ReadFile(g.server.CAFile())
	if err != nil {
		g.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(raw)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	reply, err := transport.RoundTrip(req)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := reply.Body.Close(); err != nil || reply.StatusCode != http.StatusOK {
		g.t.Fatal(reply.Status, err)
	}
}

// TestLostRepliesOnGKE: the replies to the creation and to the deletion are lost, and tokens are good for a moment only.
// There is one cluster, which nobody is told exists already, and no step is done twice.
func TestLostRepliesOnGKE(t *testing.T) {
	g := newGoogle(t,
		gke.Fault{Method: "CreateCluster", After: unavailable("connection reset")}, gke.Fault{Method: "DeleteCluster", After: unavailable("connection reset")})
	file := g.cluster("cloud")
	g.expireTokens(func() {
		code, out, doc := g.run("up", file)
		if code != 0 || strings.Contains(out, "lready exists") {
			t.Fatalf("up: exit %d\n%s", code, out)
		}
		for _, s := range doc.Steps {
			if s.Tries > 1 {
				t.Errorf("step %s was tried %d times", s.ID, s.Tries)
			}
		}
		g.must("status", file)
		g.must("down", file, "--yes")
	})
	for _, method := range []string{"CreateCluster", "DeleteCluster"} {
		calls := slices.DeleteFunc(g.server.Calls(method), func(c gke.Call) bool { return c.Code == codes.Unauthenticated })
		if len(calls) != 1 {
			t.Errorf("calls: %v", calls)
		}
	}
	g.empty()
}

// expireTokens makes every token bad soon after it was given, while do runs. One that a client just got is good, as a refused one is
// renewed once only.
func (g *google) expireTokens(do func()) {
	ctx, stop := context.WithCancel(g.t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		for wait.Sleep(ctx, time.Second) == nil {
			g.server.ExpireTokensBefore(time.Now().Add(-2 * time.Second))
		}
	})
	defer group.Wait()
	defer stop()
	do()
}

// TestGKEIsOutOfOrderForMinutes: for two minutes GKE wants fewer requests, and for a minute and a half it tells nothing of
// an operation, which it then does not know any more. Both are waited for.
func TestGKEIsOutOfOrderForMinutes(t *testing.T) {
	busy := &gke.Error{Code: codes.ResourceExhausted, Message: `Too many operations: cluster "later" hits the concurrent operations quota 5, please try again later.`}
	g := newGoogle(t,
		gke.Fault{Method: "CreateCluster", Call: 1, Operation: &gke.Outcome{Vanish: true}},
		gke.Fault{Method: "GetOperation", For: lasting(90 * time.Second), Before: unavailable("the service is down")},
		gke.Fault{Method: "CreateCluster", Call: 2, For: lasting(2 * time.Minute), Before: busy})
	silent, later := g.cluster("silent"), g.cluster("later")
	var group sync.WaitGroup
	up := func(file, waits string) {
		code, out, _ := g.run("up", file)
		if code != 0 || !strings.Contains(out, waits) {
			t.Errorf("up of %s: exit %d, want a wait for %q\n%s", file, code, waits, out)
		}
	}
	group.Go(func() { up(silent, "GKE does not answer: the service is down") })
	asked := wait.Func("the first was asked for", g.asked)
	if err := wait.Poll(t.Context(), asked, 50*time.Millisecond, nil); err != nil {
		t.Fatal(err)
	}
	group.Go(func() { up(later, "concurrent operations quota 5") })
	group.Wait()
	accepted := 0
	for _, c := range g.server.Calls("CreateCluster") {
		if c.Code == codes.OK {
			accepted++
		}
	}
	if accepted != 2 {
		t.Errorf("%d requests were accepted, want one for each cluster", accepted)
	}
	g.must("down", silent, "--yes")
	g.must("down", later, "--yes")
	g.empty()
}

// TestGKEUpgradesByItself: when the cluster is made GKE begins an upgrade, and when it is to go it is busy with something
// else. Both are waited for.
func TestGKEUpgradesByItself(t *testing.T) {
	// The upgrade lasts for many looks of up, so that one of them meets it.
	g := newGoogleAt(t, gke.Pace{Change: 20 * time.Second},
		gke.Fault{Method: "CreateCluster", Operation: &gke.Outcome{Then: "UPGRADE_NODES"}},
		gke.Fault{Method: "DeleteCluster", Before: &gke.Error{Code: codes.FailedPrecondition, Reason: "CLUSTER_ALREADY_HAS_OPERATION",
			Message: "Cluster is running incompatible operation operation-1731137433803-29e34938-9333-469b-b14f-5bdf10b143d2."}})
	file := g.cluster("cloud")
	if _, out, _ := g.run("up", file); !strings.Contains(out, "reconciling") {
		t.Errorf("the upgrade was not waited for:\n%s", out)
	}
	if code, out, _ := g.run("down", file, "--yes"); code != 0 || !strings.Contains(out, "operation-1731137433803") {
		t.Errorf("down: exit %d, and does not name what it waits for\n%s", code, out)
	}
	if calls := g.server.Calls("DeleteCluster"); len(calls) != 2 {
		t.Errorf("calls: %v", calls)
	}
	g.empty()
}

// TestDoneIsNotReadyOnGKE: the operation ends well, and the cluster is not whole. It stays, is never called proven, and
// down takes it away.
func TestDoneIsNotReadyOnGKE(t *testing.T) {
	for want, outcome := range map[string]gke.Outcome{
		"NODE_SERVICE_ACCOUNT_MISSING_PERMISSIONS": {Cluster: "DEGRADED", Condition: "NODE_SERVICE_ACCOUNT_MISSING_PERMISSIONS"},
		"node pool default":                        {Pool: "RUNNING_WITH_ERROR"},
	} {
		t.Run(want, func(t *testing.T) {
			g := newGoogle(t, gke.Fault{Method: "CreateCluster", Operation: &outcome})
			file := g.cluster("cloud")
			for range 2 {
				if code, out, doc := g.run("up", file); code != 1 || !strings.Contains(told(doc), want) {
					t.Errorf("up: exit %d\n%s", code, out)
				}
			}
			g.madeOnce()
			g.must("down", file, "--yes")
			g.empty()
		})
	}
}

// TestKilledOnGKE kills up and down at the boundaries of their steps. Each run goes on from what the last one left.
func TestKilledOnGKE(t *testing.T) {
	g := newGoogle(t)
	file := g.cluster("cloud")
	for _, at := range []moment{
		{"preflight", "running"}, {"provision", "running"}, {"provision", "running"}, {"provision", "succeeded"},
		{"kubeconfig", "running"}, {"lease", "running"}, {"lease", "succeeded"}, {"system", "running"},
	} {
		if _, out, hit := g.strike(at, syscall.SIGKILL, "up", file); !hit {
			t.Fatalf("up was never at %q\n%s", at, out)
		}
	}
	g.must("up", file)
	g.madeOnce()
	if again := g.must("up", file); again.Changes != 0 {
		t.Errorf("one more up made %d changes", again.Changes)
	}
	outward(t, g.reach("gke-cloud"))
	for _, at := range []moment{{"lease", "running"}, {"release", "running"}, {"release", "succeeded"}, {"delete", "running"}, {"delete", "succeeded"}} {
		if _, out, hit := g.strike(at, syscall.SIGKILL, "down", file, "--yes"); !hit {
			t.Fatalf("down was never at %q\n%s", at, out)
		}
	}
	g.must("down", file, "--yes")
	g.empty()
	g.nothingLeft()
}

// TestTwoUpsOnGKE: two runs at once, as of two machines, make one cluster.
func TestTwoUpsOnGKE(t *testing.T) {
	g := newGoogle(t)
	file := g.cluster("cloud")
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			if code, out, _ := g.run("up", file); code != 0 {
				t.Errorf("exit %d\n%s", code, out)
			}
		})
	}
	group.Wait()
	if out := g.call(0, "list", "--provider", "gke", "--project", "acme-prod"); strings.Count(out, "complete") != 1 {
		t.Errorf("the list is\n%s", out)
	}
	g.must("down", file, "--yes")
	g.empty()
}
