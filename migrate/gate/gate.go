// Package gate holds back every pod that mounts a claim still waiting for its data.
//
// The gate is an admission policy of the API server itself, with a ConfigMap that says which claims wait: nothing
// runs in the cluster, and it holds however a workload arrives and whether or not rekindle still runs. A pod that
// mounts a waiting claim gets a scheduling gate; where the server can not change pods by a policy, it is refused
// instead. Pods that mount no waiting claim, and the movers that bring the data, pass.
package gate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// Names of what makes a gate.
const (
	Name      = "rekindle-gate"      // of the policy, of its binding and of the ConfigMap
	Namespace = "kube-system"        // of the ConfigMap
	PodGate   = "rekindle.dev/state" // the scheduling gate of a pod that is held back
	MoverMark = "rekindle.dev/mover" // the label, "true", of the pods that bring the data: they pass
	pokeMark  = "rekindle.dev/poked" // for a moment on workloads that are to try again
	setMark   = "rekindle.dev/set"   // on the ConfigMap: the snapshot set that the claims are filled from
	ownerMark = providers.LabelOwner // on all of it
	longKey   = 253                  // of a ConfigMap, in bytes
	stateWait = "waiting"            // of a claim that has not got its data
	stateDone = "restored"           // of one that has
	proofTime = 30 * time.Second     // within which the server must follow a change of the gate
	proofLook = 250 * time.Millisecond
)

// Claim names a persistent volume claim.
type Claim struct{ Namespace, Name string }

// String is "shop/data-0".
func (c Claim) String() string { return c.Namespace + "/" + c.Name }

// key is how the ConfigMap names a claim: a namespace has no dot, so that no two claims share one.
func (c Claim) key() string { return c.Namespace + "." + c.Name }

// claimOf reads a key.
func claimOf(key string) Claim {
	namespace, name, _ := strings.Cut(key, ".")
	return Claim{namespace, name}
}

// isProbe tells the claim that is none, but shows which state of the gate the server follows.
func isProbe(c Claim) bool {
	return c.Namespace == Namespace && strings.HasPrefix(c.Name, Name+"-probe-")
}

// Gate is the gate of one cluster. Its methods may be called side by side.
type Gate struct {
	client  *kube.Client
	refuses bool // pods are refused, not held: forced by tests, else found out

	mu     sync.Mutex // guards what follows, and keeps changes of the gate one after another
	set    string
	claims map[Claim]string
	probe  Claim // waits as long as the newest change is the one that the server follows
	serial int
}

// New gives the gate of a cluster. Nothing is put up yet.
func New(c *kube.Client) *Gate { return &Gate{client: c} }

// PutUp holds back the pods of claims for which waiting is true, until Lift or TakeAway. It returns when the server
// is seen to do so. A gate that an earlier run of the same set left is taken over; one for another set, and objects
// of its name that are not ours, are refused.
func (g *Gate) PutUp(ctx context.Context, set string, waiting map[Claim]bool, p plan.Progress) (plan.Outcome, error) {
	if err := g.mayPutUp(ctx, set, waiting); err != nil {
		return "", err
	}
	if err := g.choose(); err != nil {
		return "", err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.set, g.claims = set, map[Claim]string{}
	for claim, waits := range waiting {
		g.claims[claim] = stateDone
		if waits {
			g.claims[claim] = stateWait
		}
	}
	found, err := g.exists(ctx)
	if err != nil {
		return "", err
	}
	if err := g.write(ctx); err != nil {
		return "", err
	}
	policy, binding, err := g.policy()
	if err != nil {
		return "", err
	}
	for _, obj := range []*unstructured.Unstructured{policy, binding} { // the ConfigMap is there: never a policy without one
		if err := g.apply(ctx, obj); err != nil {
			return "", err
		}
	}
	if err := g.proveHeld(ctx, p); err != nil {
		return "", err
	}
	if found {
		return plan.Adopted, g.release(ctx)
	}
	return plan.Changed, nil
}

// Lift lets the pods of a claim start: those that were held back, and those to come.
func (g *Gate) Lift(ctx context.Context, claim Claim, p plan.Progress) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ours := g.claims[claim]; !ours {
		return fmt.Errorf("the gate does not know the claim %s", claim)
	}
	g.claims[claim] = stateDone
	if err := g.write(ctx); err != nil {
		return err
	}
	if err := g.proveHeld(ctx, p); err != nil { // the probe of this very change: what it says of the claim counts now
		return err
	}
	if g.refuses {
		return g.poke(ctx, claim.Namespace)
	}
	return g.release(ctx)
}

// TakeAway removes the gate with everything that belongs to it, and lets every pod start that it still holds back.
// No gate is no error. Objects of its name that are not ours stay.
func (g *Gate) TakeAway(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var ours []kube.Ref
	namespaces := map[string]bool{}
	for _, ref := range g.refs() {
		obj, err := g.client.Get(ctx, ref)
		if err != nil {
			return "", err
		}
		if obj == nil || !isOurs(obj) {
			continue
		}
		ours = append(ours, ref)
		if ref == settingsRef() {
			namespaces = g.readProbe(obj)
		}
	}
	for _, ref := range ours { // in this order: a binding without its ConfigMap would refuse every pod of the cluster
		if err := g.client.Delete(ctx, []kube.Ref{ref}, p); err != nil {
			return "", err
		}
	}
	g.claims = nil
	if len(ours) == 0 {
		return plan.Unchanged, g.release(ctx)
	}
	if err := g.proveGone(ctx, p); err != nil {
		return "", err
	}
	errs := []error{g.release(ctx)}
	for namespace := range namespaces {
		errs = append(errs, g.poke(ctx, namespace))
	}
	return plan.Changed, fault.Join(errs...)
}

// readProbe learns from the ConfigMap, which an earlier run may have written, what to ask the server for, and gives
// the namespaces of the claims that wait.
func (g *Gate) readProbe(settings *unstructured.Unstructured) (namespaces map[string]bool) {
	data, _, _ := unstructured.NestedStringMap(settings.Object, "data") // the server knows no other ConfigMap
	namespaces = map[string]bool{}
	for key, state := range data {
		claim := claimOf(key)
		switch {
		case isProbe(claim):
			g.probe = claim
		case state == stateWait:
			namespaces[claim.Namespace] = true
		}
	}
	return namespaces
}

// mayPutUp refuses what belongs to somebody else, and what can not be gated.
func (g *Gate) mayPutUp(ctx context.Context, set string, waiting map[Claim]bool) error {
	var errs []error
	for _, ref := range g.refs() {
		obj, err := g.client.Get(ctx, ref)
		switch {
		case err != nil:
			return err
		case obj == nil:
		case !isOurs(obj):
			errs = append(errs, fault.New(fault.Refused, "it exists and was not made by rekindle").On("%s", ref).
				WithHint("the gate needs this name: rename or remove that object"))
		case ref.Kind == "ConfigMap" && obj.GetAnnotations()[setMark] != set:
			other := obj.GetAnnotations()[setMark]
			errs = append(errs, fault.New(fault.Refused, "it is there for the snapshot set %s: a rebuild from that one was not finished", other).On("gate").
				WithHint("finish it: rekindle rebuild --at %s; or begin anew: rekindle down, then rekindle rebuild", other))
		}
	}
	for claim := range waiting {
		if len(claim.key()) > longKey {
			errs = append(errs, fault.New(fault.Refused, "its namespace and name have more than %d characters together, more than a gate can tell", longKey-1).
				On("claim %s", claim))
		}
	}
	return fault.Join(errs...)
}

func (g *Gate) exists(ctx context.Context) (bool, error) {
	obj, err := g.client.Get(ctx, settingsRef())
	return obj != nil, err
}

// write makes the ConfigMap say what the gate knows, with a new probe.
func (g *Gate) write(ctx context.Context) error {
	g.serial++
	g.probe = Claim{Namespace, fmt.Sprintf("%s-probe-%d-%d", Name, time.Now().UnixNano(), g.serial)}
	data := map[string]any{g.probe.key(): stateWait}
	for claim, state := range g.claims {
		data[claim.key()] = state
	}
	settings := object(settingsRef())
	settings.SetNamespace(Namespace)
	settings.SetAnnotations(map[string]string{setMark: g.set})
	settings.Object["data"] = data
	return g.apply(ctx, settings)
}

func (g *Gate) apply(ctx context.Context, obj *unstructured.Unstructured) error {
	_, err := g.client.Apply(ctx, []*unstructured.Unstructured{obj}, kube.ApplyOptions{Manager: kube.Manager, Force: true})
	return err
}

// Found is the gate of a cluster as whoever comes by finds it.
type Found struct {
	Set     string
	Since   time.Time
	Waiting []Claim // in their order
}

// Find looks for a gate of ours; nil when there is none.
func Find(ctx context.Context, c *kube.Client) (*Found, error) {
	settings, err := c.Get(ctx, settingsRef())
	if err != nil || settings == nil || !isOurs(settings) {
		return nil, err
	}
	found := &Found{Set: settings.GetAnnotations()[setMark], Since: settings.GetCreationTimestamp().Time}
	data, _, err := unstructured.NestedStringMap(settings.Object, "data")
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if claim := claimOf(key); data[key] == stateWait && !isProbe(claim) {
			found.Waiting = append(found.Waiting, claim)
		}
	}
	return found, err
}

func isOurs(obj *unstructured.Unstructured) bool {
	return obj.GetLabels()[ownerMark] == providers.Owner
}

func settingsRef() kube.Ref {
	return kube.NewRef(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, Namespace, Name)
}

// object is an empty one with our mark.
func object(ref kube.Ref) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetGroupVersionKind(ref.GVK())
	obj.SetName(ref.Name)
	obj.SetLabels(map[string]string{ownerMark: providers.Owner})
	return obj
}

// dryRun is how a proof asks: nothing is made.
func dryRun() metav1.CreateOptions { return metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}} }
