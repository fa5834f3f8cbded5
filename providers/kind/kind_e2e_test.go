//go:build e2e

package kind_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/providers/providertest"
	"github.com/rekindle-dev/rekindle/test/lab"
)

const (
	prefix     = "rktest-"
	playEnsure = "play-ensure" // NAME: the test binary makes a cluster, to be killed at it
	plainKind  = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == playEnsure {
		p, err := open(plainKind)
		if err == nil {
			_, err = p.Ensure(context.Background(), providers.Spec{Name: os.Args[2], Run: "run-1", TTL: time.Hour}, nil)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := removeLeftovers(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// removeLeftovers removes what a killed run of these tests left.
func removeLeftovers() error {
	left, err := exec.Command("docker", "ps", "--all", "--quiet", "--filter", "name=^"+prefix, "--filter", "label=io.x-k8s.kind.cluster").Output()
	if err != nil || len(left) == 0 {
		return err
	}
	return exec.Command("docker", append([]string{"rm", "--force", "--volumes"}, strings.Fields(string(left))...)...).Run()
}

// open makes a provider as another process would, for the lab's node image.
func open(config string) (*kind.Provider, error) {
	image, err := nodeImage()
	if err != nil {
		return nil, err
	}
	quirks, err := lab.FindQuirks()
	if err != nil {
		return nil, err
	}
	raw, err := (&lab.Env{Node: image, Quirks: quirks}).KindConfig([]byte(config))
	if err != nil {
		return nil, err
	}
	return kind.New(kind.Settings{Config: raw, File: "kind.yaml"}), nil
}

// nodeImage is the lab's, or the one that REKINDLE_TEST_NODE_IMAGE names.
func nodeImage() (string, error) {
	if image := os.Getenv("REKINDLE_TEST_NODE_IMAGE"); image != "" {
		return image, nil
	}
	l, err := lab.Open()
	if err != nil {
		return "", err
	}
	return l.NodeImage()
}

func newKind(t *testing.T, config string) *kind.Provider {
	t.Helper()
	p, err := open(config)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func containers(t *testing.T, name string) string {
	t.Helper()
	return docker(t, "ps", "--all", "--quiet", "--filter", "label=io.x-k8s.kind.cluster="+name)
}

// until waits for what another process does.
func until(t *testing.T, what string, look func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err := wait.Poll(ctx, wait.Func(what, func(context.Context) (bool, string, error) { return look(), "", nil }), 50*time.Millisecond, nil)
	if err != nil {
		t.Fatal(err)
	}
}

func TestKindBehavesAsEveryProvider(t *testing.T) {
	providertest.Run(t, providertest.Subject{
		New:  func(t *testing.T) providers.Provider { return newKind(t, plainKind) },
		Name: kind.Name, Nodes: 1, Parallel: 2, Prefix: prefix,
		Foreign: foreign, HalfMade: halfMade,
	})
}

// foreign is a container as kind makes it, without our mark.
func foreign(t *testing.T, name string) func() error {
	image, err := nodeImage()
	if err != nil {
		t.Fatal(err)
	}
	node := name + "-control-plane"
	docker(t, "run", "--detach", "--name", node, "--label", "io.x-k8s.kind.cluster="+name,
		"--label", "io.x-k8s.kind.role=control-plane", "--entrypoint", "sleep", image, "infinity")
	t.Cleanup(func() { docker(t, "rm", "--force", "--volumes", node) })
	state := func() string {
		return docker(t, "inspect", "--format", "{{.Id}} {{.State.Status}} {{.State.StartedAt}}", node)
	}
	before := state()
	return func() error {
		if now := state(); now != before {
			return fmt.Errorf("was %s, is %s", before, now)
		}
		return nil
	}
}

// halfMade kills a process that makes a cluster, once the cluster's container is there.
func halfMade(t *testing.T, s providers.Spec) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, playEnsure, s.Name)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "a container", func() bool { return containers(t, s.Name) != "" })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
}

// cluster makes one that is deleted at the end.
func cluster(t *testing.T, p *kind.Provider, name string) *providers.Cluster {
	t.Helper()
	ref := providers.Ref{Provider: kind.Name, Name: name}
	t.Cleanup(func() {
		if err := p.Delete(context.WithoutCancel(t.Context()), ref, nil); err != nil {
			t.Error(err)
		}
		if left := containers(t, name); left != "" {
			t.Errorf("left: %s", left)
		}
	})
	c, err := p.Ensure(t.Context(), providers.Spec{Name: name}, nil)
	if err != nil {
		t.Fatal(fault.Text(err))
	}
	return c
}

// TestReadyMeansThatTheNodesAre: several nodes, each Ready the moment Ensure returns, and the user's own
// kubeconfig as it was. After a restart everything runs again.
func TestReadyMeansThatTheNodesAre(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("current-context: mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", file)
	p := newKind(t, plainKind)
	c := cluster(t, p, prefix+"ready")
	client, err := kubernetes.NewForConfig(c.REST)
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) == 0 {
		t.Fatalf("%d nodes, %v", len(nodes.Items), err)
	}
	for _, node := range nodes.Items {
		if !slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		}) {
			t.Errorf("%s is not Ready", node.Name)
		}
	}
	if raw, err := os.ReadFile(file); err != nil || string(raw) != "current-context: mine\n" {
		t.Errorf("the user's kubeconfig is now %s, %v", raw, err)
	}
	if _, err := p.HostAddress(t.Context(), c.Ref); err != nil {
		t.Error(err)
	}

	docker(t, "stop", prefix+"ready-control-plane")
	stopped, err := p.Find(t.Context(), c.Ref)
	if err != nil || stopped.Complete {
		t.Errorf("a stopped cluster is found as %+v, %v", stopped, err)
	}
	again, err := p.Ensure(t.Context(), providers.Spec{Name: c.Ref.Name}, nil)
	if err != nil || again.Outcome != plan.Adopted {
		t.Errorf("a stopped cluster is %+v, %v", again, err)
	}
	pods, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) < 6 {
		t.Fatalf("%d pods, %v", len(pods.Items), err)
	}
	for _, pod := range pods.Items {
		if pod.Status.Phase != corev1.PodRunning {
			t.Errorf("after the restart %s is %s", pod.Name, pod.Status.Phase)
		}
	}
	node := prefix + "ready-control-plane"
	docker(t, "pause", node)
	if paused, err := p.Ensure(t.Context(), providers.Spec{Name: c.Ref.Name}, nil); err != nil || paused.Outcome != plan.Adopted {
		t.Errorf("a paused cluster is %+v, %v", paused, err)
	}
	other := newKind(t, plainKind+"networking: {podSubnet: 10.99.0.0/16}\n")
	if _, err := other.Ensure(t.Context(), providers.Spec{Name: c.Ref.Name}, nil); fault.KindOf(err) != fault.Refused {
		t.Errorf("another configuration: %v", err)
	}
	if _, err := p.Find(t.Context(), c.Ref); err != nil {
		t.Errorf("after it was refused: %v", err)
	}

	// What cannot be looked into is not half-made, and nothing that would be made anew.
	before := docker(t, "inspect", "--format", "{{.Id}}", node)
	docker(t, "exec", node, "mv", "/bin/sh", "/bin/sh.away")
	if blind, err := p.Ensure(t.Context(), providers.Spec{Name: c.Ref.Name}, nil); fault.KindOf(err) != fault.Failed || len(fault.Hints(err)) == 0 {
		t.Errorf("a cluster that cannot be looked into is %+v, %v", blind, err)
	}
	if after := docker(t, "inspect", "--format", "{{.Id}}", node); after != before {
		t.Error("a cluster that cannot be looked into was made anew")
	}
}

// TestTheNetworkGoesWithTheLast: with a creation that is cancelled, and not under a container that has stopped.
func TestTheNetworkGoesWithTheLast(t *testing.T) {
	const network = prefix + "net"
	t.Setenv("KIND_EXPERIMENTAL_DOCKER_NETWORK", network)
	exists := func() bool { return docker(t, "network", "ls", "--quiet", "--filter", "name=^"+network+"$") != "" }
	p := newKind(t, plainKind)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := p.Ensure(ctx, providers.Spec{Name: prefix + "net0"}, func(u plan.Update) {
		if strings.Contains(u.Waiting, "starting control-plane") {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || exists() {
		t.Errorf("cancelled: %v; the network exists: %v", err, exists())
	}

	c := cluster(t, p, prefix+"net1")
	if at, err := p.HostAddress(t.Context(), c.Ref); err != nil || at == "" {
		t.Errorf("this machine is at %q, %v", at, err)
	}
	image, err := nodeImage()
	if err != nil {
		t.Fatal(err)
	}
	docker(t, "create", "--name", prefix+"neighbour", "--network", network, "--entrypoint", "true", image)
	t.Cleanup(func() {
		docker(t, "rm", "--force", "--volumes", prefix+"neighbour")
		docker(t, "network", "rm", network)
	})
	if err := p.Delete(t.Context(), c.Ref, nil); err != nil {
		t.Fatal(err)
	}
	docker(t, "start", prefix+"neighbour") // fails without its network
}

// TestACancelledCreationLeavesNothing: at each phase of it.
func TestACancelledCreationLeavesNothing(t *testing.T) {
	p := newKind(t, plainKind)
	for i, phase := range []string{"preparing nodes", "starting control-plane", "installing"} {
		name := fmt.Sprintf("%sgone%d", prefix, i)
		ctx, cancel := context.WithCancel(t.Context())
		begun := false
		_, err := p.Ensure(ctx, providers.Spec{Name: name}, func(u plan.Update) {
			if strings.Contains(u.Waiting, phase) {
				begun = true
				cancel()
			}
		})
		cancel()
		if !begun || !errors.Is(err, context.Canceled) || fault.Code(err) != fault.ExitInterrupted {
			t.Errorf("%s: begun %t, %v", phase, begun, err)
		}
		if left := containers(t, name); left != "" {
			t.Errorf("%s: left %s", phase, left)
		}
	}
}

// TestAnImageThatIsNowhereIsFoundBeforehand where its registry says so. Where that does not answer, pulling tells.
func TestAnImageThatIsNowhereIsFoundBeforehand(t *testing.T) {
	for image, known := range map[string]bool{lab.RegistryHost + "/none/node:v1.37.2": true, "127.0.0.1:1/none/node:v1.37.2": false} {
		p := kind.New(kind.Settings{Image: image})
		_, err := p.Ensure(t.Context(), providers.Spec{Name: prefix + "image"}, nil)
		told := []error{err}
		if err := p.Preflight(t.Context(), providers.Spec{Name: prefix + "image"}); known || err != nil {
			told = append(told, err)
		}
		for _, err := range told {
			if fault.KindOf(err) != fault.Failed || !strings.Contains(fault.Text(err), image) || len(fault.Hints(err)) == 0 {
				t.Errorf("%s: %v", image, err)
			}
		}
	}
	if left := containers(t, prefix+"image"); left != "" {
		t.Errorf("left: %s", left)
	}
}

func TestADaemonThatDoesNotAnswerIsTold(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "none.sock"))
	err := kind.New(kind.Settings{}).Preflight(t.Context(), providers.Spec{Name: prefix + "down"})
	if fault.KindOf(err) != fault.Failed || !strings.Contains(err.Error(), "docker does not answer") || len(fault.Hints(err)) == 0 {
		t.Errorf("%v", err)
	}
}
