package traffic_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/migrate/traffic"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

// The addresses of a cluster are of all its namespaces, so tests that make some run one after another.

// world is a cluster with a namespace of the test's own.
type world struct {
	*testing.T
	client *kube.Client
	side   traffic.Side
	space  string
}

func newWorld(t *testing.T, name string, cluster *providers.Cluster) *world {
	t.Helper()
	c, err := kube.Connect(cluster.REST)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w := &world{T: t, client: c, side: traffic.Side{Name: name, Client: c, Kubeconfig: cluster.Kubeconfig}}
	w.space = strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	w.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: SPACE}")
	return w
}

// apply applies a manifest in which SPACE stands for the namespace; what is in a namespace goes with the test.
func (w *world) apply(manifest string) {
	w.Helper()
	objs, err := kube.ParseManifest([]byte(strings.ReplaceAll(manifest, "SPACE", w.space)))
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.client.Apply(w.Context(), objs, kube.ApplyOptions{Manager: "test"}); err != nil {
		w.Fatal(err)
	}
	w.remove(objs)
}

// establish applies a definition, which goes with the test.
func (w *world) establish(manifest string) {
	w.Helper()
	objs, err := kube.ParseManifest([]byte(manifest))
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.client.EstablishCRDs(w.Context(), objs, nil); err != nil {
		w.Fatal(err)
	}
	w.remove(objs)
}

// remove takes objects away at the end of the test.
func (w *world) remove(objs []*unstructured.Unstructured) {
	w.Cleanup(func() {
		for _, obj := range objs {
			if obj.GetKind() == "Namespace" {
				continue
			}
			if err := w.client.Delete(context.WithoutCancel(w.Context()), []kube.Ref{kube.RefOf(obj)}, nil); err != nil {
				w.Error(err)
			}
		}
	})
}

// balancer is a Service that has the addresses, as a status says: [{ip: 192.0.2.1}].
func (w *world) balancer(name, ingress string) {
	w.Helper()
	w.apply("apiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: SPACE}\nspec: {type: LoadBalancer, ports: [{port: 80}]}")
	given := wait.Func("the cluster gives it an address of its own", func(ctx context.Context) (bool, string, error) {
		svc, err := w.client.Typed().CoreV1().Services(w.space).Get(ctx, name, metav1.GetOptions{})
		return err == nil && len(svc.Status.LoadBalancer.Ingress) > 0, "", err
	})
	if err := wait.Poll(w.Context(), given, 100*time.Millisecond, nil); err != nil {
		w.Fatal(err)
	}
	w.status("services", name, ingress)
}

// status gives an object of a kind with spec.loadBalancer its addresses.
func (w *world) status(resource, name, ingress string) {
	w.Helper()
	api := w.client.Typed().CoreV1().RESTClient()
	if resource == "ingresses" {
		api = w.client.Typed().NetworkingV1().RESTClient()
	}
	patch := `{"status": {"loadBalancer": {"ingress": ` + ingress + `}}}`
	err := api.Patch("application/merge-patch+json").Namespace(w.space).Resource(resource).Name(name).SubResource("status").
		Body([]byte(patch)).Do(w.Context()).Error()
	if err != nil {
		w.Fatal(err)
	}
}

// nodeAddresses are those that a cluster without load balancers answers at.
func (w *world) nodeAddresses() string {
	w.Helper()
	list, err := w.client.Typed().CoreV1().Nodes().List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	for _, at := range list.Items[0].Status.Addresses {
		if at.Type == "InternalIP" {
			return at.Address
		}
	}
	w.Fatal("the node has no address")
	return ""
}

// notes collects what is told.
type notes struct {
	mu    sync.Mutex
	notes []string
	warns []string
}

func (n *notes) take(u plan.Update) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if u.Note != "" {
		n.notes = append(n.notes, u.Note)
	}
	if u.Warning != "" {
		n.warns = append(n.warns, u.Warning)
	}
}

func (n *notes) all() string { return strings.Join(append(n.notes, n.warns...), "\n") }

// script is a switch by a command of the shell.
func script(t *testing.T, text string) traffic.Switch {
	t.Helper()
	s := traffic.Switch{Dir: t.TempDir(), Migration: "20261123T100000Z", Traffic: config.Traffic{Exec: []string{"./lead.sh", "an argument"}}}
	syscall.ForkLock.RLock() // a process that is forked meanwhile would hold it open for writing: "text file busy"
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(filepath.Join(s.Dir, "lead.sh"), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestACommandKnowsWhereToLeadRequests(t *testing.T) {
	w := newWorld(t, "prod-b", kwoktest.Shared(t))
	s := script(t, `set -e
echo "$1"
echo "$REKINDLE_MIGRATION $REKINDLE_FROM $REKINDLE_TO $REKINDLE_TO_CONTEXT $REKINDLE_TO_ADDRESSES $INHERITED"
echo "$REKINDLE_TO_KUBECONFIG" > where
stat -c %a "$REKINDLE_TO_KUBECONFIG" "$(dirname "$REKINDLE_TO_KUBECONFIG")"
cp "$REKINDLE_TO_KUBECONFIG" kubeconfig
cat "$REKINDLE_TO_KUBECONFIG" >&2
sed -n 's/.*client-key-data: //p' "$REKINDLE_TO_KUBECONFIG" | base64 -d
`)
	t.Setenv("INHERITED", "from outside")
	var told notes
	if err := s.To(t.Context(), w.side, "prod-a", told.take); err != nil {
		t.Fatal(err)
	}
	want := "an argument\n20261123T100000Z prod-a prod-b " + w.side.Kubeconfig.CurrentContext + " " + w.nodeAddresses() + " from outside\n600\n700\n"
	if !strings.HasPrefix(told.all(), want) {
		t.Errorf("told\n%s\nwant\n%s", told.all(), want)
	}
	for _, user := range w.side.Kubeconfig.AuthInfos {
		for line := range strings.Lines(string(user.ClientKeyData)) {
			if !strings.HasPrefix(line, "-----") && strings.Contains(told.all(), strings.TrimSpace(line)) {
				t.Fatalf("a key is told:\n%s", told.all())
			}
		}
		if len(user.ClientKeyData) == 0 || !strings.Contains(told.all(), "***") {
			t.Errorf("no key was there to be kept out:\n%s", told.all())
		}
	}
	where, err := os.ReadFile(filepath.Join(s.Dir, "where"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(strings.TrimSpace(string(where)))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of the kubeconfig is left: %v", err)
	}
	reached(t, filepath.Join(s.Dir, "kubeconfig"))
}

// reached asks the cluster of a kubeconfig.
func reached(t *testing.T, file string) {
	t.Helper()
	rest, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := kube.Connect(rest)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Answers(t.Context()); err != nil {
		t.Errorf("by the kubeconfig that the command got: %v", err)
	}
}

func TestACommandThatFailsIsNamedWithWhatItSaid(t *testing.T) {
	w := newWorld(t, "prod-b", kwoktest.Shared(t))
	s := script(t, `for i in 1 2 3 4 5 6 7 8 9; do echo "complaint $i" >&2; done; echo done so far; exit 7`)
	var told notes
	err := s.To(t.Context(), w.side, "prod-a", told.take)
	want := "command ./lead.sh: ended with exit status 7: complaint 5\ncomplaint 6\ncomplaint 7\ncomplaint 8\ncomplaint 9"
	if err == nil || err.Error() != want || fault.KindOf(err) != fault.Failed {
		t.Errorf("got %v, want %s", err, want)
	}
	if told.all() != "done so far" {
		t.Errorf("told %q", told.all())
	}
}

func TestOnlyTheEndOfWhatACommandWritesIsTold(t *testing.T) {
	w := newWorld(t, "prod-b", kwoktest.Shared(t))
	s := script(t, `i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done; head -c 200000 /dev/zero | tr '\0' x; echo; head -c 1000 /dev/zero | tr '\0' y`)
	var told notes
	if err := s.To(t.Context(), w.side, "prod-a", told.take); err != nil {
		t.Fatal(err)
	}
	if len(told.notes) != 1 || told.notes[0] != strings.Repeat("y", 300)+"…" {
		t.Errorf("%d notes, the first begins with %.400s", len(told.notes), told.all())
	}
}

func TestACommandThatTakesTooLongEndsWithAllThatItStarted(t *testing.T) {
	w := newWorld(t, "prod-b", kwoktest.Shared(t))
	for name, c := range map[string]struct {
		script string
		cancel bool
	}{
		"in time":             {`sleep 600 & echo $! > child; wait`, false},
		"when it is not told": {`trap '' TERM; sleep 600 & echo $! > child; while :; do wait; done`, false},
		"by the caller":       {`sleep 600 & echo $! > child; wait`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := script(t, c.script)
			s.Timeout = 2 * time.Second
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.cancel {
				s.Timeout = time.Hour
				go func() {
					awaitChild(t, s.Dir)
					cancel()
				}()
			}
			err := s.To(ctx, w.side, "prod-a", nil)
			for !c.cancel && !hasChild(s.Dir) { // it was ended before it had begun
				s.Timeout *= 2
				err = s.To(ctx, w.side, "prod-a", nil)
			}
			switch {
			case c.cancel && !errors.Is(err, context.Canceled):
				t.Errorf("got %v, want that it was cancelled", err)
			case !c.cancel && (err == nil || !strings.Contains(err.Error(), "did not end within "+s.Timeout.String())):
				t.Errorf("got %v", err)
			}
			awaitGone(t, awaitChild(t, s.Dir))
		})
	}
}

func hasChild(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "child"))
	return err == nil
}

// awaitChild is the process that a script has started.
func awaitChild(t *testing.T, dir string) (pid int) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := wait.Poll(ctx, wait.Func("the script starts a process", func(context.Context) (bool, string, error) {
		raw, err := os.ReadFile(filepath.Join(dir, "child"))
		if err != nil || !strings.HasSuffix(string(raw), "\n") {
			return false, "", nil
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(raw)))
		return true, "", err
	}), 10*time.Millisecond, nil)
	if err != nil {
		t.Error(err)
	}
	return pid
}

// awaitGone waits until a process has ended, whether or not its new parent has noticed.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := wait.Poll(ctx, wait.Func("the child has ended", func(context.Context) (bool, string, error) {
		stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || strings.Contains(string(stat), ") Z "), string(stat), nil
	}), 10*time.Millisecond, nil)
	if err != nil {
		t.Error(err)
	}
}

func TestACommandMayLeaveSomethingRunning(t *testing.T) {
	w := newWorld(t, "prod-b", kwoktest.Shared(t))
	s := script(t, `sleep 600 >/dev/null 2>&1 & echo $! > child; echo led`)
	var told notes
	if err := s.To(t.Context(), w.side, "prod-a", told.take); err != nil || told.all() != "led" {
		t.Errorf("got %v, told %q", err, told.all())
	}
	pid := awaitChild(t, s.Dir)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("what it left running was ended: %v", err)
	}
}

func TestACommandThatCanNotBeRunIsKnownBefore(t *testing.T) {
	good := script(t, "exit 0")
	notRunnable := script(t, "exit 0")
	if err := os.Chmod(filepath.Join(notRunnable.Dir, "lead.sh"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, s := range map[string]traffic.Switch{
		"": good,
		"command ./lead.sh: cannot be run: permission denied": notRunnable,
		"command rekindle-is-not-called-so: cannot be run: executable file not found in $PATH": {
			Traffic: config.Traffic{Exec: []string{"rekindle-is-not-called-so"}},
		},
	} {
		err := s.Check(t.Context(), traffic.Side{}, traffic.Side{})
		if got := text(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if err != nil && fault.KindOf(err) != fault.Usage {
			t.Errorf("%v is of kind %v", err, fault.KindOf(err))
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestAPersonIsToldWhereToLeadRequests(t *testing.T) {
	w := newWorld(t, "prod-b", kwoktest.Shared(t))
	s := traffic.Switch{}
	if err := s.Check(t.Context(), w.side, w.side); err != nil {
		t.Error(err)
	}
	told := func(want string) {
		t.Helper()
		var n notes
		if err := s.To(t.Context(), w.side, "prod-a", n.take); err != nil {
			t.Fatal(err)
		}
		if len(n.warns) != 1 || n.all() != "lead requests to prod-b by hand: it answers at "+want {
			t.Errorf("told %q, want %s", n.all(), want)
		}
	}
	told(w.nodeAddresses())
	w.apply("apiVersion: v1\nkind: Service\nmetadata: {name: inside, namespace: SPACE}\nspec: {ports: [{port: 80}]}")
	told(w.nodeAddresses()) // a Service without an address of its own adds nothing
	w.balancer("web", `[{"ip": "198.51.100.2"}, {"hostname": "lb.example.org"}]`)
	w.apply("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web, namespace: SPACE}\n" +
		"spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}")
	w.status("ingresses", "web", `[{"ip": "198.51.100.2"}, {"ip": "2001:db8::1"}]`)
	told("198.51.100.2, 2001:db8::1, lb.example.org")
	w.gateway()
	told("198.51.100.2, 198.51.100.3, 2001:db8::1, lb.example.org")
}

// gateway is one of the Gateway API, with as much of its definition as matters.
func (w *world) gateway() {
	w.Helper()
	w.establish(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: gateways.gateway.networking.k8s.io
  annotations: {api-approved.kubernetes.io: "https://github.com/kubernetes-sigs/gateway-api/pull/2466"}
spec:
  group: gateway.networking.k8s.io
  names: {kind: Gateway, plural: gateways, singular: gateway, listKind: GatewayList}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`)
	w.apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: SPACE}
`)
	ref := kube.Ref{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "Gateway", Namespace: w.space, Name: "edge"}
	patch := `{"status": {"addresses": [{"type": "IPAddress", "value": "198.51.100.3"}, {"value": ""}]}}`
	if err := w.client.MergePatch(w.Context(), ref, []byte(patch)); err != nil {
		w.Fatal(err)
	}
}

func TestACommandNeedsAKubeconfig(t *testing.T) {
	w := newWorld(t, "prod-b", kwoktest.Shared(t))
	w.side.Kubeconfig = nil
	if err := script(t, "exit 0").To(t.Context(), w.side, "prod-a", nil); !strings.Contains(text(err), "cluster prod-b: has no kubeconfig") {
		t.Errorf("got %v", err)
	}
}
