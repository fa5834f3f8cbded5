// Package gate holds back every pod that mounts a claim still waiting for its data.
//
// The gate is an admission policy of the API server itself: nothing runs in the cluster, and it holds however a
// workload arrives and whether or not rekindle still runs. A pod that mounts a waiting claim gets a scheduling gate;
// where the server cannot change pods by a policy, it is refused instead. Pods that mount no waiting claim, and the
// movers that bring the data, pass.
package gate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/migrate/admission"
	"github.com/rekindle-dev/rekindle/migrate/poke"
)

// Names of what makes a gate.
const (
	Name = "rekindle-gate" // of the policy and of its binding

	proofNamespace = "kube-system" // always there
)

// Migration is how a migration calls itself towards the gate; a rebuild has the id of its snapshot set.
func Migration(id string) string { return migrations + id }

const migrations = "migration/"

// Claim names a persistent volume claim.
type Claim struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String is "shop/data-0".
func (c Claim) String() string { return c.Namespace + "/" + c.Name }

func compare(a, b Claim) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// Gate is the gate of one cluster. Its methods may be called side by side.
type Gate struct {
	client  *kube.Client
	refuses bool // pods are refused, not held: forced by tests, else found out
	gvk     schema.GroupVersionKind

	mu     sync.Mutex // guards what follows, and keeps changes of the gate one after another
	set    string
	claims map[Claim]bool  // whether they wait
	probes []Claim         // there are none of these names; a state of the gate has those of all states before it, and one more
	lifted map[Claim]Claim // the probe of the state in which a claim was lifted
}

// New gives the gate of a cluster. Nothing is put up yet.
func New(c *kube.Client) *Gate { return &Gate{client: c} }

// PutUp holds back the pods of claims for which waiting is true, until Lift or TakeAway. It returns when the server
// is seen to do so. set says for whom: the snapshot set that the claims are filled from, or [Migration]. A gate that an
// earlier run of the same left is taken over; one for another, and objects of its name that are not ours, are refused.
func (g *Gate) PutUp(ctx context.Context, set string, waiting map[Claim]bool, p plan.Progress) (plan.Outcome, error) {
	if err := g.mayPutUp(ctx, set); err != nil {
		return "", err
	}
	if err := g.choose(); err != nil {
		return "", err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.set, g.claims, g.lifted = set, maps.Clone(waiting), map[Claim]Claim{}
	found, err := g.client.Get(ctx, g.policyRef())
	if err != nil {
		return "", err
	}
	if err := g.write(ctx); err != nil {
		return "", err
	}
	if _, err := admission.Apply(ctx, g.client, admission.Binding(g.gvk, Name)); err != nil {
		return "", err
	}
	if err := g.prove(ctx, []Claim{g.newest()}, true, p); err != nil {
		return "", err
	}
	if found == nil {
		return plan.Changed, nil
	}
	if err := g.release(ctx); err != nil {
		return "", err
	}
	for namespace := range g.done() { // the earlier run may have been killed before it did
		g.tryAgain(ctx, namespace, p)
	}
	return plan.Adopted, nil
}

// done are the namespaces of claims that do not wait any more.
func (g *Gate) done() map[string]bool {
	done := map[string]bool{}
	for claim, waits := range g.claims {
		if !waits {
			done[claim.Namespace] = true
		}
	}
	return done
}

// Lift lets the pods of a claim start that are held back. Those to come may be held for as long as the server takes to follow:
// call Settle after it.
func (g *Gate) Lift(ctx context.Context, claim Claim) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ours := g.claims[claim]; !ours {
		return fmt.Errorf("the gate does not know the claim %s", claim)
	}
	g.claims[claim] = false
	if err := g.write(ctx); err != nil {
		return err
	}
	g.lifted[claim] = g.newest()
	if g.refuses {
		return nil // there are none: they come when the server follows
	}
	return g.release(ctx)
}

// Settle waits until the server follows the lift of a claim, and lets those of its pods start that were held back or refused
// meanwhile. Without a lift there is nothing to wait for.
func (g *Gate) Settle(ctx context.Context, claim Claim, p plan.Progress) error {
	g.mu.Lock()
	probe, ok := g.lifted[claim]
	g.mu.Unlock()
	if !ok {
		return nil
	}
	if err := g.prove(ctx, []Claim{probe}, true, p); err != nil {
		return err
	}
	if !g.refuses {
		if err := g.releaseLate(ctx); err != nil {
			return err
		}
	}
	g.tryAgain(ctx, claim.Namespace, p)
	return nil
}

// releaseLate lets those start that were held back until the server followed.
func (g *Gate) releaseLate(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.release(ctx)
}

// tryAgain has the pods of a namespace made that were refused, of all when it is empty. Where pods are held back, those are refused
// nevertheless that name their node: the API server takes no such pod with a scheduling gate.
func (g *Gate) tryAgain(ctx context.Context, namespace string, p plan.Progress) {
	if g.refuses {
		poke.Workloads(ctx, g.client, namespace, p)
		return
	}
	poke.Pinned(ctx, g.client, namespace, p)
}

// TakeAway removes the gate that is there for set with everything that belongs to it, and lets every pod start that it still
// holds back. No gate is no error; one for another is refused. Objects of its name that are not ours stay.
func (g *Gate) TakeAway(ctx context.Context, set string, p plan.Progress) (plan.Outcome, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.probes = nil
	namespaces := map[string]bool{}
	policy, err := admission.Find(ctx, g.client, Name)
	if err != nil {
		return "", err
	}
	if policy != nil {
		if err := mayChange(policy.GetAnnotations()[marks.Set], set); err != nil {
			return "", err
		}
		for _, claim := range waiting(policy) {
			if isProbe(claim) {
				g.probes = append(g.probes, claim)
			} else {
				namespaces[claim.Namespace] = true
			}
		}
	}
	removed, err := admission.Remove(ctx, g.client, Name, p)
	if err != nil {
		return "", err
	}
	g.claims = nil
	if err := g.release(ctx); err != nil {
		return "", err
	}
	if !removed { // maybe by a run that was killed before it was done
		if g.choose() == nil {
			g.tryAgain(ctx, metav1.NamespaceAll, p)
		}
		return plan.Unchanged, nil
	}
	if err := g.prove(ctx, g.probes, false, p); err != nil { // a server that is behind still has the first of them
		return "", err
	}
	for namespace := range namespaces {
		poke.Workloads(ctx, g.client, namespace, p)
	}
	return plan.Changed, g.release(ctx) // those that came until then
}

// mayPutUp refuses what belongs to somebody else.
func (g *Gate) mayPutUp(ctx context.Context, set string) error {
	if err := admission.Strangers(ctx, g.client, Name, "gate"); err != nil {
		return err
	}
	found, err := Find(ctx, g.client)
	if err != nil || found == nil {
		return err
	}
	return mayChange(found.Set, set)
}

// mayChange refuses a gate that is there for another.
func mayChange(found, set string) error {
	if found == set {
		return nil
	}
	if id, is := strings.CutPrefix(found, migrations); is {
		return fault.New(fault.Refused, "exists for the migration %s, which was not finished", id).On("gate").WithHint("%s", Finish(found))
	}
	return fault.New(fault.Refused, "exists for the snapshot set %s: a rebuild from that one was not finished", found).On("gate").
		WithHint("%s", Finish(found))
}

// Finish says how what put up a gate for set is brought to its end. Each command names the set: the newest one need not be it.
func Finish(set string) string {
	if strings.HasPrefix(set, migrations) {
		return "finish it: rekindle migrate cutover; or give it up: rekindle migrate rollback"
	}
	return fmt.Sprintf("finish it: rekindle rebuild --at %s; or start over: rekindle down, then rekindle rebuild --at %[1]s", set)
}

// write makes the policy hold back what waits now, with a further probe: a server that holds it back follows this change, or a
// later one.
func (g *Gate) write(ctx context.Context) error {
	g.probes = append(g.probes, Claim{proofNamespace, Name + "-probe-" + rand.String(10)})
	all := slices.Clone(g.probes)
	for claim, waits := range g.claims {
		if waits {
			all = append(all, claim)
		}
	}
	slices.SortFunc(all, compare)
	policy, err := g.policy(all)
	if err != nil {
		return err
	}
	_, err = admission.Apply(ctx, g.client, policy)
	return err
}

// newest is the probe of the state that was written last.
func (g *Gate) newest() Claim { return g.probes[len(g.probes)-1] }

// Found is the gate of a cluster as whoever comes by finds it.
type Found struct {
	Set     string
	Since   time.Time
	Waiting []Claim // in their order
}

// Migration is the id of the migration whose gate it is; empty for that of a rebuild.
func (f *Found) Migration() string {
	if id, is := strings.CutPrefix(f.Set, migrations); is {
		return id
	}
	return ""
}

// Find looks for a gate of ours; nil when there is none.
func Find(ctx context.Context, c *kube.Client) (*Found, error) {
	policy, err := admission.Find(ctx, c, Name)
	if err != nil || policy == nil {
		return nil, err
	}
	found := &Found{Set: policy.GetAnnotations()[marks.Set], Since: policy.GetCreationTimestamp().Time}
	found.Waiting = slices.DeleteFunc(waiting(policy), isProbe)
	return found, nil
}

// waiting reads the claims that a policy holds back, the probe among them. A mark that is not ours to read has none.
func waiting(policy *unstructured.Unstructured) []Claim {
	var claims []Claim
	if json.Unmarshal([]byte(policy.GetAnnotations()[marks.Waiting]), &claims) != nil {
		return nil
	}
	return claims
}

// isProbe tells the claim that is none, but shows which state of the gate the server follows.
func isProbe(c Claim) bool {
	return c.Namespace == proofNamespace && strings.HasPrefix(c.Name, Name+"-probe-")
}
