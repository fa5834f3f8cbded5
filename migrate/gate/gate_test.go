package gate_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/migrate/admission"
	"github.com/rekindle-dev/rekindle/migrate/gate"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

// A gate is there once a cluster, so the tests that put one up run one after another.

type world struct {
	*testing.T
	client *kube.Client
	name   string // of the namespace
}

func newWorld(t *testing.T, namespace string) *world {
	t.Helper()
	c, err := kube.Connect(kwoktest.Shared(t).REST)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w := &world{T: t, client: c, name: namespace}
	w.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: NS}")
	return w
}

// apply applies a manifest in which NS stands for the namespace.
func (w *world) apply(manifest string) {
	w.Helper()
	objs, err := kube.ParseManifest([]byte(strings.ReplaceAll(manifest, "NS", w.name)))
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.client.Apply(w.Context(), objs, kube.ApplyOptions{Manager: "test"}); err != nil {
		w.Fatal(err)
	}
}

// stateful is a StatefulSet of two pods, each with a claim, and the volumes for them.
func (w *world) stateful() {
	w.Helper()
	for i := range 2 {
		w.apply(fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolume
metadata: {name: NS-%d}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: NS
  hostPath: {path: /nowhere}
  claimRef: {namespace: NS, name: data-db-%d}
`, i, i))
	}
	w.apply(`
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: NS}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: db, image: example.invalid/db, volumeMounts: [{name: data, mountPath: /data}]}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {storageClassName: NS, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`)
}

// quota lets the namespace have so many pods, until noQuota. It returns when the server follows it.
func (w *world) quota(pods int) {
	w.Helper()
	w.apply(fmt.Sprintf("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: few, namespace: NS}\nspec: {hard: {pods: '%d'}}", pods))
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	err := wait.Poll(ctx, wait.Func("the quota counts", func(ctx context.Context) (bool, string, error) {
		quota, err := w.client.Typed().CoreV1().ResourceQuotas(w.name).Get(ctx, "few", metav1.GetOptions{})
		return err == nil && len(quota.Status.Hard) > 0, "", err
	}), 200*time.Millisecond, nil)
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) noQuota() {
	w.Helper()
	if err := w.client.Typed().CoreV1().ResourceQuotas(w.name).Delete(w.Context(), "few", metav1.DeleteOptions{}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) gate(g *gate.Gate, set string, claims ...string) plan.Outcome {
	w.Helper()
	outcome, err := g.PutUp(w.Context(), set, w.claims(claims...), nil)
	if err != nil {
		w.Fatal(err)
	}
	return outcome
}

func (w *world) claims(names ...string) map[gate.Claim]bool {
	claims := map[gate.Claim]bool{}
	for _, name := range names {
		claims[w.claim(name)] = true
	}
	return claims
}

func (w *world) claim(name string) gate.Claim { return gate.Claim{Namespace: w.name, Name: name} }

func (w *world) lift(g *gate.Gate, claim string) {
	w.Helper()
	if err := g.Lift(w.Context(), w.claim(claim)); err != nil {
		w.Fatal(err)
	}
	if err := g.Settle(w.Context(), w.claim(claim), nil); err != nil {
		w.Fatal(err)
	}
}

func (w *world) takeAway(g *gate.Gate, set string) plan.Outcome {
	w.Helper()
	outcome, err := g.TakeAway(w.Context(), set, nil)
	if err != nil {
		w.Fatal(err)
	}
	return outcome
}

// until waits for what the pods of the namespace are, told as "db-0 held, db-1 running".
func (w *world) until(want string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	err := wait.Poll(ctx, wait.Func("pods are "+want, func(context.Context) (bool, string, error) {
		got := w.pods()
		return got == want, got, nil
	}), 200*time.Millisecond, nil)
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) pods() string {
	w.Helper()
	pods, err := w.client.Typed().CoreV1().Pods(w.name).List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	var all []string
	for _, p := range pods.Items {
		all = append(all, p.Name+" "+condition(&p))
	}
	return strings.Join(all, ", ")
}

func condition(p *corev1.Pod) string {
	switch {
	case gate.Held(p):
		return "held"
	case p.Status.Phase == corev1.PodRunning:
		return "running"
	}
	return "waiting"
}

func (w *world) pod(name, claim string, labels string) {
	w.Helper()
	w.apply(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: NS, labels: {%s}}
spec:
  containers: [{name: main, image: example.invalid/main}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: %s}}, {name: tmp, emptyDir: {}}]
`, name, labels, claim))
}

func TestAStatefulSetStartsPodByPodAsItsClaimsGetTheirData(t *testing.T) {
	w := newWorld(t, "podbypod")
	g := gate.New(w.client)
	if outcome := w.gate(g, "set-1", "data-db-0", "data-db-1", "files"); outcome != plan.Changed {
		t.Errorf("put up: %s", outcome)
	}
	w.stateful()
	w.until("db-0 held")
	since := time.Now()
	w.lift(g, "files")
	if n := w.pokes(since); n > 0 {
		t.Errorf("a pod of the set is held, and its controller is told to try again by %d writes", n)
	}
	w.lift(g, "data-db-0")
	w.until("db-0 running, db-1 held")
	found, err := gate.Find(t.Context(), w.client)
	if err != nil || found == nil || found.Set != "set-1" || !slices.Equal(found.Waiting, []gate.Claim{w.claim("data-db-1")}) {
		t.Errorf("the gate says %+v (%v)", found, err)
	}
	w.lift(g, "data-db-1")
	w.until("db-0 running, db-1 running")
	if outcome := w.takeAway(g, "set-1"); outcome != plan.Changed {
		t.Errorf("taken away: %s", outcome)
	}
	w.leavesNothing()
	if outcome := w.takeAway(gate.New(w.client), "set-1"); outcome != plan.Unchanged {
		t.Errorf("taken away again: %s", outcome)
	}
}

// leavesNothing looks for all that a gate consists of.
func (w *world) leavesNothing() {
	w.Helper()
	var refs []kube.Ref
	for _, kind := range []string{"MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"} {
		for _, kind := range []string{kind, kind + "Binding"} {
			refs = append(refs, kube.Ref{Group: "admissionregistration.k8s.io", Kind: kind, Name: gate.Name})
		}
	}
	for _, ref := range refs {
		if obj, err := w.client.Get(w.Context(), ref); err != nil || obj != nil {
			w.Errorf("%s is left (%v)", ref, err)
		}
	}
}

func TestOnlyPodsThatMountAWaitingClaimAreHeld(t *testing.T) {
	w := newWorld(t, "who")
	other := newWorld(t, "who-else")
	g := gate.New(w.client)
	w.gate(g, "set-1", "data", "logs")
	defer w.takeAway(g, "set-1")

	w.pod("a-mounts-it", "data", "")
	w.pod("b-mounts-another", "other", "")
	w.pod("c-brings-it", "data", marks.Mover+": 'true'")
	w.pod("d-only-claims-to", "data", marks.Mover+": 'false'")
	other.pod("of-another-namespace", "data", "")
	if got, want := w.pods(), "a-mounts-it held, b-mounts-another waiting, c-brings-it waiting, d-only-claims-to held"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := other.pods(); got != "of-another-namespace waiting" {
		t.Errorf("a claim of the same name elsewhere: %s", got)
	}
	w.lift(g, "logs")
	if got := w.pods(); !strings.Contains(got, "a-mounts-it held") {
		t.Errorf("another claim was lifted, and %s", got)
	}
	w.lift(g, "data")
	w.pod("e-comes-late", "data", "")
	if got := w.pods(); strings.Contains(got, "held") {
		t.Errorf("lifted, and still %s", got)
	}
	if err := g.Lift(t.Context(), w.claim("never-heard-of")); err == nil {
		t.Error("a claim that the gate does not know was lifted")
	}
}

// Who waits starts when the data is there; who comes before the server follows, when it does. Claims are lifted side by side.
func TestWhoWaitsStartsAtOnce(t *testing.T) {
	w := newWorld(t, "at-once")
	g := gate.New(w.client)
	names := []string{"data-0", "data-1", "data-2", "data-3"}
	w.gate(g, "set-1", names...)
	defer w.takeAway(g, "set-1")
	for _, name := range names {
		w.pod("waits-for-"+name, name, "")
	}
	var lifting sync.WaitGroup
	for _, name := range names {
		lifting.Go(func() {
			if err := g.Lift(t.Context(), w.claim(name)); err != nil {
				t.Error(err)
			}
			if got := w.pods(); strings.Contains(got, "waits-for-"+name+" held") {
				t.Errorf("%s is lifted, and %s", name, got)
			}
			w.pod("follows-"+name, name, "")
			if err := g.Settle(t.Context(), w.claim(name), nil); err != nil {
				t.Error(err)
			}
			if got := w.pods(); strings.Contains(got, "follows-"+name+" held") {
				t.Errorf("the server follows the lift of %s, and %s", name, got)
			}
		})
	}
	lifting.Wait()
}

// A run that was killed leaves the gate: it holds without it, and the next run goes on where the first one was.
func TestAGateIsTakenOver(t *testing.T) {
	w := newWorld(t, "takenover")
	killed := gate.New(w.client)
	w.gate(killed, "set-1", "data-db-0", "data-db-1")
	w.stateful()
	w.until("db-0 held")

	next := gate.New(w.client)
	_, err := next.PutUp(t.Context(), "set-2", w.claims("data-db-0"), nil)
	if fault.KindOf(err) != fault.Refused || !strings.Contains(fault.Text(err), "--at set-1") {
		t.Errorf("another set took the gate over: %v", err)
	}
	claims := w.claims("data-db-0", "data-db-1")
	claims[w.claim("data-db-0")] = false // its data came, and the run was killed before it was lifted
	outcome, err := next.PutUp(t.Context(), "set-1", claims, nil)
	if err != nil || outcome != plan.Adopted {
		t.Fatalf("%s, %v", outcome, err)
	}
	w.until("db-0 running, db-1 held")
	_, err = gate.New(w.client).TakeAway(t.Context(), gate.Migration("20261123-100000-abcd"), nil)
	if fault.KindOf(err) != fault.Refused || !strings.Contains(fault.Text(err), "--at set-1") {
		t.Errorf("another took the gate away: %v", err)
	}
	w.takeAway(gate.New(w.client), "set-1") // as one does who gives up: nothing is held for ever
	w.until("db-0 running, db-1 running")
}

// TestNoPodIsHeldWhenTheGateIsAway makes pods as soon as another run has taken the gate away: by itself the server
// follows a policy that is gone for up to a second more, and nothing would ever let go what is held then.
func TestNoPodIsHeldWhenTheGateIsAway(t *testing.T) {
	w := newWorld(t, "shut")
	for round := range 4 {
		w.gate(gate.New(w.client), "set", "data")
		w.takeAway(gate.New(w.client), "set")
		for i := range 3 {
			w.pod(fmt.Sprintf("after-%d-%d", round, i), "data", "")
		}
		if got := w.pods(); strings.Contains(got, "held") {
			t.Fatalf("the gate is away, and the pods are %s", got)
		}
	}
	w.leavesNothing()
}

func TestAStrangersPolicyIsLeftAlone(t *testing.T) {
	w := newWorld(t, "stranger")
	ref := kube.Ref{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicyBinding", Name: gate.Name}
	w.apply("apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {name: " + gate.Name + "}\n" +
		"spec: {policyName: theirs, validationActions: [Deny]}")
	defer func() {
		if err := w.client.Delete(context.WithoutCancel(t.Context()), []kube.Ref{ref}, nil); err != nil {
			t.Error(err)
		}
	}()
	g := gate.New(w.client)
	_, err := g.PutUp(t.Context(), "set-1", w.claims("data"), nil)
	if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), ref.String()) {
		t.Errorf("got %v", err)
	}
	if outcome := w.takeAway(g, "set-1"); outcome != plan.Unchanged {
		t.Errorf("taken away: %s", outcome)
	}
	obj, err := w.client.Get(t.Context(), ref)
	if err != nil || obj == nil || obj.GetLabels()[providers.LabelOwner] != "" {
		t.Errorf("the stranger's object is %v (%v)", obj, err)
	}
}

// Where the server cannot change pods by a policy, they are refused, and made as soon as their data is there.
func TestPodsAreRefusedWhereTheyCanNotBeHeld(t *testing.T) {
	w := newWorld(t, "refused")
	g := gate.NewRefusing(w.client)
	w.gate(g, "set-1", "data-db-0", "data-db-1")
	w.stateful()
	w.saysWhy("data-db-0")
	if got := w.pods(); got != "" {
		t.Fatalf("there are pods: %s", got)
	}
	w.lift(g, "data-db-0")
	w.until("db-0 running")
	// However soon its controller tries again by itself, the set wants a pod more when it is poked.
	w.quota(1)
	if _, err := admission.Remove(t.Context(), w.client, gate.Name, nil); err != nil { // by a run that is killed then
		t.Fatal(err)
	}
	since := time.Now()
	if outcome := w.takeAway(gate.NewRefusing(w.client), "set-1"); outcome != plan.Unchanged {
		t.Errorf("taken away again: %s", outcome)
	}
	if !slices.ContainsFunc(kwoktest.AuditWrites(t, kwoktest.Shared(t), since), func(write kwoktest.Write) bool {
		return write.Verb == "patch" && strings.Contains(write.URI, "/statefulsets/db")
	}) {
		t.Error("what was refused is not tried again")
	}
	w.noQuota()
	w.until("db-0 running, db-1 running")
	w.leavesNothing()
	sets, err := w.client.Typed().AppsV1().StatefulSets(w.name).Get(t.Context(), "db", metav1.GetOptions{})
	if err != nil || len(sets.Annotations) != 0 {
		t.Errorf("left on the workload: %v (%v)", sets.Annotations, err)
	}
}

// saysWhy waits until the refusal is told where a person looks.
func (w *world) saysWhy(claim string) {
	w.Helper()
	w.untilEvent("why "+claim+" has no pod", gate.Name, "rekindle rebuild")
}

// untilEvent waits until the events of the namespace have these texts, which say something.
func (w *world) untilEvent(what string, texts ...string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	err := wait.Poll(ctx, wait.Func("an event says "+what, func(ctx context.Context) (bool, string, error) {
		events, err := w.client.Typed().CoreV1().Events(w.name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, "", err
		}
		var all []string
		for _, e := range events.Items {
			all = append(all, e.Message)
		}
		got := strings.Join(all, "\n")
		return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(got, text) }), got, nil
	}), 200*time.Millisecond, nil)
	if err != nil {
		w.Fatal(err)
	}
}

// pinned is a Deployment whose pods name their node: such a pod cannot be held back, and is refused.
func (w *world) pinned() {
	w.Helper()
	w.apply(`
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: NS}
spec: {storageClassName: NS, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pinned, namespace: NS}
spec:
  selector: {matchLabels: {app: pinned}}
  template:
    metadata: {labels: {app: pinned}}
    spec:
      nodeName: nowhere
      containers: [{name: main, image: example.invalid/main}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
`)
}

// pokes are the writes to workloads of the namespace since then, by which their controllers are to try again.
func (w *world) pokes(since time.Time) int {
	w.Helper()
	n := 0
	for _, write := range kwoktest.AuditWrites(w, kwoktest.Shared(w), since) {
		if write.Verb == "patch" && strings.Contains(write.URI, "/namespaces/"+w.name+"/") && strings.Contains(write.URI, "/apis/apps/") {
			n++
		}
	}
	return n
}

// A pod that names its node is refused by the API server once it has a scheduling gate. Its controller is told when the data is there,
// whichever run finds that.
func TestAPodThatNamesItsNodeIsTriedAgain(t *testing.T) {
	w := newWorld(t, "pinned")
	w.quota(0) // however soon its controller tries again by itself, it wants a pod when it is poked
	g := gate.New(w.client)
	w.gate(g, "set-1", "data", "other")
	w.pinned()
	w.untilEvent("that the pod cannot be held back", "nodeName")
	for _, c := range []struct {
		when string
		do   func()
	}{
		{"its claim is lifted", func() { w.lift(g, "data") }},
		{"a run takes the gate over that was killed since", func() {
			g = gate.New(w.client)
			if _, err := g.PutUp(t.Context(), "set-1", map[gate.Claim]bool{w.claim("data"): false, w.claim("other"): true}, nil); err != nil {
				t.Fatal(err)
			}
		}},
		{"a run finds that the gate is away", func() {
			if _, err := admission.Remove(t.Context(), w.client, gate.Name, nil); err != nil {
				t.Fatal(err)
			}
			w.takeAway(gate.New(w.client), "set-1")
		}},
	} {
		since := time.Now()
		if c.do(); w.pokes(since) == 0 {
			t.Errorf("%s: what was refused is not tried again", c.when)
		}
	}
}
