package gke_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/grpc/codes"
	"k8s.io/client-go/kubernetes"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/gke"
	emulator "github.com/rekindle-dev/rekindle/test/gke"
)

// TestAnotherClusterOfTheNameStays: while a run deletes a cluster, somebody makes one of its name.
func TestAnotherClusterOfTheNameStays(t *testing.T) {
	outOfOrder := &emulator.Error{Code: codes.Unavailable, Message: "out of order"}
	for name, c := range map[string]struct {
		script  []emulator.Fault // has the run not see that the cluster is gone
		deleted bool             // by somebody else, in an operation that is not listed
	}{
		"it follows its own operation": {script: []emulator.Fault{{Method: "GetOperation", Until: -1, Before: outOfOrder}}},
		"somebody else deletes it": {deleted: true, script: []emulator.Fault{
			{Method: "DeleteCluster", Operation: &emulator.Outcome{Vanish: true}}, {Method: "GetCluster", Call: 3, Until: -1, Before: outOfOrder},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, emulator.Options{Pace: emulator.Pace{Delete: 3 * time.Second}})
			p := provider(t, s, small())
			ensured(t, p, "shop")
			labels := listed(t, s)[0].GetResourceLabels()
			s.SetScript(c.script...)
			if c.deleted {
				if _, err := stranger(t, s).DeleteCluster(t.Context(), &containerpb.DeleteClusterRequest{Name: in + "/clusters/shop"}); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- p.Delete(ctx, ref("shop"), nil) }()
			again(t, s, labels)
			s.SetScript()
			if err := <-ended; err != nil {
				t.Errorf("the deletion: %v", err)
			}
			if calls, left := s.Calls("DeleteCluster"), clusters(t, s); len(calls) != 1 || len(left) != 1 {
				t.Errorf("deletions %v, clusters %v", calls, left)
			}
			if left, err := p.Leftovers(t.Context(), ref("shop")); err != nil || len(left) > 0 {
				t.Errorf("what is the new one's is listed: %v, %v", left, err)
			}
			for _, r := range s.Left() {
				s.Remove(r.SelfLink)
			}
			removed(t, p, "shop")
			if left := clusters(t, s); len(left) > 0 {
				t.Errorf("a deletion that is asked for later does nothing: %v", left)
			}
		})
	}
}

const in = "projects/" + project + "/locations/" + zone

func listed(t *testing.T, s *emulator.Server) []*containerpb.Cluster {
	t.Helper()
	reply, err := stranger(t, s).ListClusters(t.Context(), &containerpb.ListClustersRequest{Parent: in})
	if err != nil {
		t.Fatal(err)
	}
	return reply.GetClusters()
}

// again makes the cluster shop as soon as there is none, and gives it a disk and a firewall rule.
func again(t *testing.T, s *emulator.Server, labels map[string]string) {
	t.Helper()
	free := wait.Func("the name is free", func(context.Context) (bool, string, error) { return len(listed(t, s)) == 0, "", nil })
	if err := wait.Poll(t.Context(), free, 50*time.Millisecond, nil); err != nil {
		t.Fatal(err)
	}
	_, err := stranger(t, s).CreateCluster(t.Context(), &containerpb.CreateClusterRequest{Parent: in, Cluster: &containerpb.Cluster{
		Name: "shop", NodePools: []*containerpb.NodePool{{Name: "default", InitialNodeCount: 1}}, ResourceLabels: labels,
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.Leave(emulator.Resource{Kind: emulator.Disks, Project: project, Scope: "zones/" + zone, Name: "pvc-new",
		Labels: map[string]string{"goog-k8s-cluster-name": "shop", "goog-k8s-cluster-location": zone}})
	s.Leave(emulator.Resource{Kind: emulator.Firewalls, Project: project, Scope: "global", Name: "k8s-fw-new",
		TargetTags: []string{"gke-shop-" + listed(t, s)[0].GetId()[:8] + "-node"}})
}

const endpoints = "k8s1-0a1b2c3d-default-web-80-1f2e3d4c"

// withEndpoints makes a cluster that leaves a group of endpoints, which has its ID in its name.
func withEndpoints(t *testing.T, s *emulator.Server, p *gke.Provider) {
	t.Helper()
	c, _ := ensured(t, p, "shop")
	client, err := kubernetes.NewForConfig(c.REST)
	if err != nil {
		t.Fatal(err)
	}
	hasIngresses(t, client)
	s.Leave(emulator.Resource{Kind: emulator.EndpointGroups, Project: project, Scope: "zones/" + zone, Name: endpoints})
}

// TestADeletionThatIsBegunAgainKnowsTheIDs: the cluster is gone then, and cannot be asked.
func TestADeletionThatIsBegunAgainKnowsTheIDs(t *testing.T) {
	s := start(t, emulator.Options{})
	p := hasty(t, s)
	withEndpoints(t, s, p)
	s.SetScript(emulator.Fault{Method: "compute", Until: -1, Missing: []string{zone}})
	if err := p.Delete(t.Context(), ref("shop"), nil); !fault.IsTransient(err) || !strings.Contains(err.Error(), "is incomplete") {
		t.Errorf("while no list is whole: %v", err)
	}
	s.SetScript()
	if err := p.Delete(t.Context(), ref("shop"), nil); err == nil || !strings.Contains(err.Error(), endpoints) {
		t.Errorf("begun again: %v", err)
	}
}

// TestADeletionThatSomebodyBeganIsNoCleanOne: it is told that not all of what may be left is looked for.
func TestADeletionThatSomebodyBeganIsNoCleanOne(t *testing.T) {
	s := start(t, emulator.Options{Pace: emulator.Pace{Delete: 3 * time.Second}})
	p := hasty(t, s)
	ensured(t, p, "shop")
	n := &notes{}
	if _, err := stranger(t, s).DeleteCluster(t.Context(), &containerpb.DeleteClusterRequest{Name: in + "/clusters/shop"}); err != nil {
		t.Fatal(err)
	}
	if err := p.Delete(t.Context(), ref("shop"), n.progress); err != nil || !n.has("does not report its IDs") {
		t.Errorf("%v, told %q", err, n.list)
	}
}

// TestAClusterThatGoesKeepsNobodyFromOtherSettings: it is made again from those of now.
func TestAClusterThatGoesKeepsNobodyFromOtherSettings(t *testing.T) {
	s := start(t, emulator.Options{Pace: emulator.Pace{Delete: 3 * time.Second}})
	ensured(t, provider(t, s, small()), "shop")
	other := small()
	other.NodePools[0].Nodes = 2
	p := provider(t, s, other)
	if err := p.Preflight(t.Context(), providers.Spec{Name: "shop"}); fault.KindOf(err) != fault.Refused {
		t.Errorf("while it runs: %v", err)
	}
	if _, err := stranger(t, s).DeleteCluster(t.Context(), &containerpb.DeleteClusterRequest{Name: in + "/clusters/shop"}); err != nil {
		t.Fatal(err)
	}
	if err := p.Preflight(t.Context(), providers.Spec{Name: "shop"}); err != nil {
		t.Errorf("while it goes: %v", err)
	}
	ensured(t, p, "shop")
	if pools := listed(t, s)[0].GetNodePools(); pools[0].GetInitialNodeCount() != 2 {
		t.Errorf("pools: %v", pools)
	}
	removed(t, p, "shop")
}

// TestALookThatFailsEndsNoWait: what was seen before it is told, and it is tried again until the time is over.
func TestALookThatFailsEndsNoWait(t *testing.T) {
	for name, missing := range map[string]emulator.Fault{
		"the first looks":   {Method: "compute", Until: 3},
		"all but the first": {Method: "compute", Call: 8, Until: -1},
	} {
		t.Run(name, func(t *testing.T) {
			missing.Missing = []string{zone}
			s := start(t, emulator.Options{})
			p := hasty(t, s)
			withEndpoints(t, s, p)
			s.SetScript(missing)
			err := p.Delete(t.Context(), ref("shop"), nil)
			told := func(e error) bool { return strings.Contains(e.Error(), endpoints) }
			if all := fault.All(err); len(all) != 1 || !slices.ContainsFunc(all, told) {
				t.Errorf("told: %v", err)
			}
		})
	}
}
