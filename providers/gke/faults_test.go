package gke_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/gke"
	emulator "github.com/rekindle-dev/rekindle/test/gke"
)

func seconds(n float64) metav1.Duration {
	return metav1.Duration{Duration: time.Duration(n * float64(time.Second))}
}

// notes gathers what a run tells.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) progress(u plan.Update) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, u.Waiting+u.Note+u.Warning)
}

func (n *notes) has(text string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Contains(strings.Join(n.list, "\n"), text)
}

func ensured(t *testing.T, p *gke.Provider, name string) (*providers.Cluster, *notes) {
	t.Helper()
	n := &notes{}
	c, err := p.Ensure(t.Context(), providers.Spec{Name: name}, n.progress)
	if err != nil {
		t.Fatalf("ensure %s: %v", name, err)
	}
	return c, n
}

func removed(t *testing.T, p *gke.Provider, name string) {
	t.Helper()
	if err := p.Delete(t.Context(), ref(name), nil); err != nil {
		t.Errorf("delete %s: %v", name, err)
	}
}

// clusters are the names of those that GKE has.
func clusters(t *testing.T, s *emulator.Server) (names []string) {
	t.Helper()
	reply, err := stranger(t, s).ListClusters(t.Context(), &containerpb.ListClustersRequest{Parent: "projects/" + project + "/locations/-"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range reply.GetClusters() {
		names = append(names, c.GetName())
	}
	return names
}

func accepted(s *emulator.Server) (n int) {
	for _, c := range s.Calls("CreateCluster") {
		if c.Code == codes.OK {
			n++
		}
	}
	return n
}

func TestTheReplyOfTheCreationIsLost(t *testing.T) {
	s := start(t, emulator.Options{Script: []emulator.Fault{
		{Method: "CreateCluster", Call: 1, Before: &emulator.Error{Code: codes.Unavailable, Message: "not even received"}},
		{Method: "CreateCluster", Call: 2, After: &emulator.Error{Code: codes.Unavailable, Message: "connection reset"}},
	}})
	p := provider(t, s, small())
	c, n := ensured(t, p, "lost")
	if c.Outcome != plan.Changed {
		t.Errorf("the outcome is %q", c.Outcome)
	}
	if calls := s.Calls("CreateCluster"); len(calls) != 2 {
		t.Errorf("calls: %v", calls)
	}
	if got := clusters(t, s); len(got) != 1 {
		t.Errorf("clusters: %v", got)
	}
	if n.has("lready exists") {
		t.Errorf("told: %q", n.list)
	}
	removed(t, p, "lost")
}

func TestQuota(t *testing.T) {
	s := start(t, emulator.Options{Quotas: map[string]float64{emulator.MetricCPUs: 8, emulator.MetricAddresses: 2}})
	big := config.GKE{Project: project, Location: "europe-west6", NodePools: []config.GKENodePool{{Name: "big", MachineType: "e2-standard-4"}}}
	_, err := provider(t, s, big).Ensure(t.Context(), providers.Spec{Name: "big"}, nil)
	for _, text := range []string{"CPUS: needs 12, 4 more than is free of the limit of 8", "IN_USE_ADDRESSES: needs 3, 1 more than is free of the limit of 2", "europe-west6"} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in: %v", text, err)
		}
	}
	if len(fault.Hints(err)) == 0 || fault.IsTransient(err) {
		t.Errorf("hints %q, transient %v", fault.Hints(err), fault.IsTransient(err))
	}
	if calls, left := s.Calls("CreateCluster"), clusters(t, s); len(calls) != 1 || len(left) != 0 {
		t.Errorf("calls %v, clusters %v", calls, left)
	}
}

func TestTooManyRequests(t *testing.T) {
	s := start(t, emulator.Options{Script: []emulator.Fault{{Method: "CreateCluster", Until: 2, Before: &emulator.Error{
		Code: codes.ResourceExhausted, Message: `Too many operations: cluster "busy" hits the concurrent operations quota 5, please try again later.`,
	}}}})
	p := provider(t, s, small())
	if _, n := ensured(t, p, "busy"); !n.has("concurrent operations quota 5") {
		t.Errorf("told: %q", n.list)
	}
	if n := accepted(s); n != 1 || len(s.Calls("CreateCluster")) != 3 {
		t.Errorf("%d of %d requests were accepted", n, len(s.Calls("CreateCluster")))
	}
	removed(t, p, "busy")
}

func TestGKEUpgradesByItself(t *testing.T) {
	s := start(t, emulator.Options{
		Pace: emulator.Pace{Change: 2 * time.Second},
		Script: []emulator.Fault{
			{Method: "CreateCluster", Operation: &emulator.Outcome{Then: "UPGRADE_NODES"}},
			{Method: "SetLabels", Operation: &emulator.Outcome{Stuck: true}},
		},
	})
	p, client, in := provider(t, s, small()), stranger(t, s), "projects/"+project+"/locations/"+zone
	_, n := ensured(t, p, "upgraded")
	done, err := client.ListOperations(t.Context(), &containerpb.ListOperationsRequest{Parent: in})
	if err != nil || !slices.ContainsFunc(done.GetOperations(), func(o *containerpb.Operation) bool {
		return o.GetOperationType() == containerpb.Operation_UPGRADE_NODES && o.GetStatus() == containerpb.Operation_DONE
	}) {
		t.Errorf("it did not wait for the upgrade: %v, %v, %q", done, err, n.list)
	}
	// A change of labels starts an operation; deleting has to wait for it, and goes on when it ends.
	labelled := small()
	labelled.Labels = map[string]string{"team": "shop"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := provider(t, s, labelled).Ensure(ctx, providers.Spec{Name: "upgraded"}, nil)
		ended <- err
	}()
	asked := wait.Func("the labels are changed", func(context.Context) (bool, string, error) { return len(s.Calls("SetLabels")) > 0, "", nil })
	if err := wait.Poll(ctx, asked, 20*time.Millisecond, nil); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-ended
	waited := false
	if err := p.Delete(t.Context(), ref("upgraded"), func(u plan.Update) {
		if _, id, ok := strings.Cut(u.Note, "waiting for what GKE does on it: "); ok {
			waited = true
			if err := client.CancelOperation(t.Context(), &containerpb.CancelOperationRequest{Name: in + "/operations/" + id}); err != nil {
				t.Error(err)
			}
		}
	}); err != nil {
		t.Error(err)
	}
	if calls := s.Calls("DeleteCluster"); len(calls) != 2 || calls[0].Code != codes.FailedPrecondition || !waited {
		t.Errorf("calls %v, told of the wait: %t", calls, waited)
	}
}

// TestPoolsComeAndGKEUpgradesMeanwhile: a cluster that is in use goes on to be, and nobody waits for what GKE does on it.
func TestPoolsComeAndGKEUpgradesMeanwhile(t *testing.T) {
	s := start(t, emulator.Options{Pace: emulator.Pace{Change: time.Hour}})
	p, client := provider(t, s, small()), stranger(t, s)
	ensured(t, p, "upgraded")
	ensured(t, p, "growing")
	in := "projects/" + project + "/locations/" + zone + "/clusters/"
	if _, err := client.UpdateCluster(t.Context(), &containerpb.UpdateClusterRequest{Name: in + "upgraded", Update: &containerpb.ClusterUpdate{DesiredNodeVersion: "-"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateNodePool(t.Context(), &containerpb.CreateNodePoolRequest{
		Parent: in + "growing", NodePool: &containerpb.NodePool{Name: "more", InitialNodeCount: 1},
	}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"upgraded", "growing"} {
		if c, err := p.Find(t.Context(), ref(name)); err != nil || !c.Complete || c.REST == nil {
			t.Errorf("%s is not found as it was: %+v, %v", name, c, err)
		}
		if c, n := ensured(t, p, name); c.Outcome != plan.Unchanged {
			t.Errorf("%s: the outcome is %q, told: %q", name, c.Outcome, n.list)
		}
	}
}

// TestABrokenClusterIsStillReached: what of it would outlive it can be deleted before it is.
func TestABrokenClusterIsStillReached(t *testing.T) {
	s := start(t, emulator.Options{Script: []emulator.Fault{{Method: "SetLabels", Operation: &emulator.Outcome{Cluster: "ERROR"}}}})
	p := provider(t, s, small())
	ensured(t, p, "broken")
	labelled := small()
	labelled.Labels = map[string]string{"team": "shop"}
	if _, err := provider(t, s, labelled).Ensure(t.Context(), providers.Spec{Name: "broken"}, nil); err != nil {
		t.Fatal(err)
	}
	if c, err := p.Find(t.Context(), ref("broken")); err != nil || c.Complete || c.REST == nil {
		t.Errorf("found as %+v, %v", c, err)
	}
	removed(t, p, "broken")
}

// TestABrokenClusterThatWasInUseIsNotMadeAgain: only one whose creation failed just now surely has nothing in it.
func TestABrokenClusterThatWasInUseIsNotMadeAgain(t *testing.T) {
	s := start(t, emulator.Options{Script: []emulator.Fault{
		{Method: "SetLabels", Operation: &emulator.Outcome{Cluster: "ERROR", Condition: "CA_EXPIRING"}},
	}})
	labelled := small()
	labelled.Labels = map[string]string{"team": "shop"}
	p := provider(t, s, labelled)
	ensured(t, provider(t, s, small()), "broken")
	ensured(t, p, "broken") // the change of its labels breaks it
	for _, made := range []string{time.Now().Add(-61 * time.Minute).UTC().Format(time.RFC3339), "2020-01-01T00:00:00+00:00", "", "yesterday"} {
		s.SetCreateTime("broken", made)
		_, err := p.Ensure(t.Context(), providers.Spec{Name: "broken"}, nil)
		if err == nil || !strings.Contains(err.Error(), "CA_EXPIRING") || !strings.Contains(strings.Join(fault.Hints(err), ""), "rekindle down, then rekindle up") {
			t.Errorf("made %q: %v, hints %q", made, err, fault.Hints(err))
		}
		if calls := s.Calls("DeleteCluster"); len(calls) > 0 {
			t.Fatalf("made %q: it is deleted: %v", made, calls)
		}
	}
	// One that was just made, and well, may have been filled since.
	s.SetCreateTime("broken", time.Now().UTC().Format(time.RFC3339))
	if _, err := p.Ensure(t.Context(), providers.Spec{Name: "broken"}, nil); err == nil || len(s.Calls("DeleteCluster")) > 0 {
		t.Errorf("one that was made well: %v, deletions %v", err, s.Calls("DeleteCluster"))
	}
}

// TestAClusterWhoseCreationFailedIsMadeAgain, when the run that saw it fail could not remove it.
func TestAClusterWhoseCreationFailedIsMadeAgain(t *testing.T) {
	s := start(t, emulator.Options{Script: []emulator.Fault{
		{Method: "CreateCluster", Operation: &emulator.Outcome{Error: &emulator.Error{Code: codes.ResourceExhausted, Message: "no machines"}, Condition: "GCE_STOCKOUT"}},
		{Method: "DeleteCluster", Before: &emulator.Error{Code: codes.PermissionDenied, Message: "not now"}},
	}})
	p := provider(t, s, small())
	if _, err := p.Ensure(t.Context(), providers.Spec{Name: "failed"}, nil); err == nil || len(clusters(t, s)) != 1 {
		t.Fatalf("%v, clusters %v", err, clusters(t, s))
	}
	if c, n := ensured(t, p, "failed"); c.Outcome != plan.Adopted || len(s.Calls("DeleteCluster")) != 2 {
		t.Errorf("outcome %q, told %q, deletions %v", c.Outcome, n.list, s.Calls("DeleteCluster"))
	}
	removed(t, p, "failed")
}

func TestGKECanNotMakeIt(t *testing.T) {
	const text = "Google Compute Engine: europe-west6-a does not have enough resources available to fulfill the request."
	outcome := emulator.Outcome{Error: &emulator.Error{Code: codes.ResourceExhausted, Message: text}, Condition: "GCE_STOCKOUT", Collected: true}
	for name, collect := range map[string]time.Duration{"removed by us": time.Hour, "removed by gke": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			s := start(t, emulator.Options{
				Pace:   emulator.Pace{Collect: collect},
				Script: []emulator.Fault{{Method: "CreateCluster", Operation: &outcome}},
			})
			p := provider(t, s, small())
			_, err := p.Ensure(t.Context(), providers.Spec{Name: "none"}, nil)
			if err == nil || !strings.Contains(err.Error(), "GCE_STOCKOUT") || !strings.Contains(strings.Join(fault.Hints(err), ""), "nodeLocations") {
				t.Errorf("%v, hints %q", err, fault.Hints(err))
			}
			if got := clusters(t, s); len(got) != 0 {
				t.Errorf("clusters: %v", got)
			}
		})
	}
}

func TestDoneIsNotReady(t *testing.T) {
	three := config.GKE{Project: project, Location: "europe-west6", NodePools: []config.GKENodePool{{Name: "default", Nodes: 1}}}
	for want, outcome := range map[string]emulator.Outcome{
		"the cluster is degraded":                 {Cluster: "DEGRADED", Condition: "NODE_SERVICE_ACCOUNT_MISSING_PERMISSIONS"},
		"node pool default is running with error": {Pool: "RUNNING_WITH_ERROR"},
		"node pool default: 2 of 3 nodes":         {Lost: 1},
	} {
		t.Run(want, func(t *testing.T) {
			s := start(t, emulator.Options{Script: []emulator.Fault{{Method: "CreateCluster", Operation: &outcome}}})
			p := provider(t, s, three)
			if outcome.Lost > 0 {
				p = impatient(t, s, three)
			}
			_, err := p.Ensure(t.Context(), providers.Spec{Name: "bad"}, nil)
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), outcome.Condition) || len(fault.Hints(err)) == 0 {
				t.Errorf("%v, hints %q", err, fault.Hints(err))
			}
			if _, again := p.Ensure(t.Context(), providers.Spec{Name: "bad"}, nil); again == nil {
				t.Error("a second run takes it to be ready")
			}
			if n := len(s.Calls("CreateCluster")); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestTheOperationIsNotFound(t *testing.T) {
	s := start(t, emulator.Options{
		Pace: emulator.Pace{Create: 3 * time.Second},
		Script: []emulator.Fault{
			{Method: "GetOperation", For: seconds(2), Before: &emulator.Error{Code: codes.Unavailable, Message: "out of order"}},
			{Method: "CreateCluster", Operation: &emulator.Outcome{Vanish: true}},
		},
	})
	p := provider(t, s, small())
	c, n := ensured(t, p, "vanished")
	if c.Outcome != plan.Changed || !n.has("out of order") || len(s.Calls("CreateCluster")) != 1 {
		t.Errorf("outcome %q, told %q, calls %v", c.Outcome, n.list, s.Calls("CreateCluster"))
	}
	removed(t, p, "vanished")
}

const ensureArg = "rekindle-test-ensure" // makes the test binary a run of Ensure, with the endpoint of its environment

// other runs Ensure in a process of its own, and says whether it was killed before it ended.
func other(t *testing.T, s *emulator.Server, name string, after time.Duration) (killed bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), after)
	defer cancel()
	run := exec.CommandContext(ctx, self, ensureArg, name)
	run.Env = append(os.Environ(), gke.EndpointEnv+"="+s.URL(), gke.CAEnv+"="+s.CAFile())
	out, err := run.CombinedOutput()
	if err != nil && ctx.Err() == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return ctx.Err() != nil
}

func TestKilledAnywhere(t *testing.T) {
	s := start(t, emulator.Options{Pace: emulator.Pace{Pending: 500 * time.Millisecond, Create: 4 * time.Second, Delete: time.Second}})
	kills := 0
	for after := 20 * time.Millisecond; other(t, s, "killed", after); after = after * 3 / 2 {
		kills++
	}
	if kills < 5 {
		t.Errorf("only %d runs were killed", kills)
	}
	if n, got := accepted(s), clusters(t, s); n != 1 || len(got) != 1 {
		t.Errorf("%d requests were accepted, clusters %v", n, got)
	}
	p := provider(t, s, small())
	if c, _ := ensured(t, p, "killed"); c.Outcome != plan.Unchanged {
		t.Errorf("the outcome is %q", c.Outcome)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := p.Delete(ctx, ref("killed"), nil); err == nil {
		t.Error("it was not interrupted")
	}
	removed(t, provider(t, s, small()), "killed")
	if got := clusters(t, s); len(got) != 0 {
		t.Errorf("clusters: %v", got)
	}
}

func TestTokensExpire(t *testing.T) {
	s := start(t, emulator.Options{Pace: emulator.Pace{Create: 5 * time.Second}})
	p := provider(t, s, small())
	ctx, cancel := context.WithCancel(t.Context())
	var expiry sync.WaitGroup
	expiry.Go(func() {
		for wait.Sleep(ctx, time.Second) == nil {
			s.ExpireTokensBefore(time.Now().Add(-2 * time.Second)) // one that was just given is good: it is renewed once only
		}
	})
	c, _ := ensured(t, p, "tokens")
	cancel()
	expiry.Wait()
	client, err := kubernetes.NewForConfig(c.REST)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s.ExpireTokens()
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("m%d", i)}}
		if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), m, metav1.CreateOptions{}); err != nil {
			t.Error(err)
		}
	}
	refused := func(c emulator.Call) bool { return c.Code == codes.Unauthenticated }
	if !slices.ContainsFunc(s.Calls(""), refused) {
		t.Error("no token has expired")
	}
	if calls := slices.DeleteFunc(s.Calls("CreateCluster"), refused); len(calls) != 1 {
		t.Errorf("calls: %v", calls)
	}
	removed(t, p, "tokens")
}

func TestTwoRunsAtOnce(t *testing.T) {
	s := start(t, emulator.Options{})
	outcomes := make([]plan.Outcome, 2)
	var wg sync.WaitGroup
	for i := range outcomes {
		wg.Go(func() {
			c, err := provider(t, s, small()).Ensure(t.Context(), providers.Spec{Name: "twice"}, nil)
			if err != nil {
				t.Error(err)
				return
			}
			outcomes[i] = c.Outcome
		})
	}
	wg.Wait()
	if n, got := accepted(s), clusters(t, s); n != 1 || len(got) != 1 {
		t.Errorf("%d requests were accepted, clusters %v, outcomes %q", n, got, outcomes)
	}
	removed(t, provider(t, s, small()), "twice")
}
