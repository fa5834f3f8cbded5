package faults

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok"
	"github.com/rekindle-dev/rekindle/test/gke"
)

// TestAClaimThatNeverGoes holds down back: the object is told with its finalizer and what to do, the cluster stays for its
// controllers, and nothing is called clean. When the finalizer is gone the next down ends it.
func TestAClaimThatNeverGoes(t *testing.T) {
	g := newGoogle(t)
	file := g.cluster("cloud")
	g.must("up", file)
	client := g.reach("gke-cloud")
	outward(t, client)
	hold(t, client, `["example.com/disk-is-detached"]`)
	code, out, doc := g.run("down", file, "--yes", "--timeout", "60s")
	if code != 1 || doc.Result != "failed" {
		t.Errorf("exit %d, %s\n%s", code, doc.Result, out)
	}
	for _, text := range []string{"PersistentVolumeClaim default/data", "example.com/disk-is-detached", "run the same command again", "delete by hand"} {
		if !strings.Contains(told(doc), text) {
			t.Errorf("%q is not told: %s", text, told(doc))
		}
	}
	if calls := g.server.Calls("DeleteCluster"); len(calls) > 0 {
		t.Errorf("the cluster was deleted: %v", calls)
	}
	hold(t, client, "null")
	g.must("down", file, "--yes")
	g.empty()
}

// hold gives the claim of outward finalizers.
func hold(t *testing.T, client kubernetes.Interface, finalizers string) {
	t.Helper()
	patch := []byte(`{"metadata":{"finalizers":` + finalizers + `}}`)
	if _, err := client.CoreV1().PersistentVolumeClaims("default").Patch(t.Context(), "data", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestTheAPIServerIsGone: what the cluster has outside cannot be deleted before it. The cluster goes all the same, and
// what stays is listed with the command that removes it, until somebody does.
func TestTheAPIServerIsGone(t *testing.T) {
	g := newGoogle(t)
	file := g.cluster("cloud")
	g.must("up", file)
	outward(t, g.reach("gke-cloud"))
	g.server.SetScript(gke.Fault{Method: gke.APIServer, Until: -1, Before: unavailable("the control plane is broken")})
	for range 2 {
		code, out, doc := g.run("down", file, "--yes")
		if code != 1 || doc.Result != "failed" {
			t.Errorf("exit %d, %s\n%s", code, doc.Result, out)
		}
		for _, text := range []string{"forwarding rule", "firewall rule", "gcloud compute forwarding-rules delete", "--project acme-prod"} {
			if !strings.Contains(told(doc), text) {
				t.Errorf("%q is not told: %s", text, told(doc))
			}
		}
	}
	for _, r := range g.server.Left() {
		g.server.Remove(r.SelfLink)
	}
	g.must("down", file, "--yes")
	g.empty()
}

// TestGCReleasesOnGKE: what a run left on GKE is collected with its load balancer and its claim, whoever looks, and a
// cluster that does not let go of them is left and told.
func TestGCReleasesOnGKE(t *testing.T) {
	g := newGoogle(t)
	file := g.cluster("cloud")
	g.must("up", file) // which is to stay
	code, out, doc := g.run("run", file, "--keep", "always", "--", "true")
	_, run, _ := strings.Cut(doc.Name, "-run-")
	if code != 0 || !strings.Contains(out, "rekindle gc --run "+run+" --project acme-prod deletes it earlier") {
		t.Fatalf("run: exit %d\n%s", code, out)
	}
	client := g.behindRun()
	outward(t, client)
	hold(t, client, `["example.com/disk-is-detached"]`)

	gc := []string{"gc", "--provider", "gke"} // the project is known by the record of the run
	if doc := g.must(gc...); doc.Changes != 0 {
		t.Errorf("before the TTL is over gc made %d changes", doc.Changes)
	}
	if out := g.call(0, "list", "--provider", "gke"); !strings.Contains(out, run) {
		t.Errorf("the run %s is not in the list\n%s", run, out)
	}
	if code, out, doc := g.run(append(gc, "--run", "typo")...); code != 2 || !strings.Contains(told(doc), "no cluster of this run") {
		t.Errorf("gc of a run that is none: exit %d\n%s", code, out)
	}
	code, out, doc = g.run(append(gc, "--run", run, "--timeout", "60s")...)
	if code != 1 || !strings.Contains(told(doc), "PersistentVolumeClaim default/data") || len(g.server.Calls("DeleteCluster")) > 0 {
		t.Errorf("gc of a cluster that holds its claim: exit %d\n%s", code, out)
	}
	hold(t, client, "null")
	if collected := g.changes(append(gc, "--run", run)...); !slices.Contains(collected, plan.ID("gke/cloud-run-"+run)) {
		t.Errorf("gc changed %v", collected)
	}
	if left := g.server.Left(); len(left) > 0 {
		t.Errorf("Google is left with %+v", left)
	}
	if out := g.call(0, "list", "--provider", "gke", "--project", "acme-prod"); strings.Count(out, "complete") != 1 {
		t.Errorf("the list is\n%s", out)
	}
	g.must("down", file, "--yes")
	g.empty()
	g.nothingLeft()
}

// behindRun is a client of the newest cluster, whose context is in no kubeconfig of the user's.
func (g *google) behindRun() kubernetes.Interface {
	g.t.Helper()
	provider, err := kwok.New(g.behind)
	if err != nil {
		g.t.Fatal(err)
	}
	all, err := provider.List(g.t.Context())
	if err != nil || len(all) != 2 {
		g.t.Fatal(all, err)
	}
	newest := slices.MaxFunc(all, func(a, b *providers.Cluster) int { return a.Created.Compare(b.Created) })
	client, err := kubernetes.NewForConfig(newest.REST)
	if err != nil {
		g.t.Fatal(err)
	}
	return client
}

// TestAKilledRunOnGKEIsCollected kills run in every phase of a cluster in the cloud. gc takes what is there.
func TestAKilledRunOnGKEIsCollected(t *testing.T) {
	g := newGoogle(t)
	file := g.cluster("cloud")
	for _, at := range []moment{{"preflight", "running"}, {"provision", "running"}, {"provision", "succeeded"}, {"release", "running"}, {"delete", "running"}} {
		if _, out, hit := g.strike(at, syscall.SIGKILL, "run", file, "--", "true"); !hit {
			t.Fatalf("run was never at %q\n%s", at, out)
		}
		g.must("gc", "--provider", "gke", "--project", "acme-prod", "--dead")
		g.empty()
	}
	g.nothingLeft()
}
