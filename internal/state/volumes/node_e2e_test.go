//go:build e2e

package volumes_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/test/lab/labtest"
)

const (
	clusterName = "rekindle-volumes-e2e"
	namespace   = "stateful"
)

// node is a cluster of one real node, with a repository of state that its pods reach.
type node struct {
	*testing.T
	client     *kube.Client
	root       string // the node's file system, as this machine has it
	repository *state.Repository
	mover      *volumes.Mover

	mu    sync.Mutex
	notes []string
}

func newNode(t *testing.T) *node {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes files of every owner on the node: run it as root")
	}
	env := labtest.Require(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	labtest.NewCluster(t, clusterName, labtest.KindConfig(t, env, ""), kubeconfig)
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{T: t}
	if n.client, err = kube.Connect(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.client.Close)
	n.root = n.nodeRoot()
	n.openRepository(env.Gateway, filepath.Join(t.TempDir(), "repository"))
	n.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: " + namespace + ", labels: {pod-security.kubernetes.io/enforce: baseline}}")
	n.until("the default service account", func(ctx context.Context) (bool, string, error) {
		_, err := n.client.Typed().CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, fmt.Sprint(err), nil
	})
	return n
}

// nodeRoot is the node's file system, which is elsewhere after each start of the node.
func (n *node) nodeRoot() string {
	n.Helper()
	return "/proc/" + n.docker("inspect", "--format", "{{.State.Pid}}", clusterName+"-control-plane") + "/root"
}

// openRepository makes a repository in a folder, and serves it to pods.
func (n *node) openRepository(gateway, dir string) {
	n.Helper()
	cache, err := assets.Open("")
	if err != nil {
		n.Fatal(err)
	}
	restic, err := cache.Get(n.Context(), state.ResticAsset(), nil)
	if err != nil {
		n.Fatal(err)
	}
	n.repository, err = state.Open(state.Settings{
		Repository: dir, Password: []byte("horse battery"), Restic: restic, Cluster: clusterName,
	})
	if err != nil {
		n.Fatal(err)
	}
	if _, err := n.repository.Init(n.Context()); err != nil {
		n.Fatal(err)
	}
	access, end, err := n.repository.Expose(n.Context(), gateway)
	if err != nil {
		n.Fatal(err)
	}
	n.Cleanup(end)
	n.mover = &volumes.Mover{Client: n.client, Access: access, Set: state.NewID(time.Now()), Cluster: clusterName}
}

func (n *node) docker(args ...string) string {
	n.Helper()
	out, err := exec.CommandContext(n.Context(), "docker", args...).CombinedOutput()
	if err != nil {
		n.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (n *node) apply(manifest string) {
	n.Helper()
	objs, err := kube.ParseManifest([]byte(manifest))
	if err != nil {
		n.Fatal(err)
	}
	if _, err := n.client.Apply(n.Context(), objs, kube.ApplyOptions{Manager: "test"}); err != nil {
		n.Fatal(err)
	}
}

func (n *node) until(what string, check func(ctx context.Context) (bool, string, error)) {
	n.Helper()
	ctx, cancel := context.WithTimeout(n.Context(), 2*time.Minute)
	defer cancel()
	if err := wait.Poll(ctx, wait.Func(what, check), 200*time.Millisecond, nil); err != nil {
		n.Fatal(err)
	}
}

// claim makes a claim that nobody uses.
func (n *node) claim(name string) {
	n.Helper()
	n.apply(fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %s, namespace: %s}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`, name, namespace))
}

// used makes a claim and a pod of the same name that has it mounted and does nothing, with annotations in YAML.
func (n *node) used(name, annotations string) {
	n.Helper()
	n.claim(name)
	n.apply(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: %[2]s, annotations: {%[3]s}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: "ghcr.io/rekindle-dev/shop/postgresql:15", command: [sleep, "100000"], securityContext: {runAsUser: 0}, volumeMounts: [{name: data, mountPath: /data}]}
  volumes: [{name: data, persistentVolumeClaim: {claimName: %[1]s}}]
`, name, namespace, annotations))
	n.until("pod "+name+" runs", func(ctx context.Context) (bool, string, error) {
		pod, err := n.client.Typed().CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		return err == nil && pod.Status.Phase == corev1.PodRunning, fmt.Sprint(err), nil
	})
}

// folder is where the data of a bound claim is.
func (n *node) folder(claim string) string {
	n.Helper()
	pvc, err := n.client.Typed().CoreV1().PersistentVolumeClaims(namespace).Get(n.Context(), claim, metav1.GetOptions{})
	if err != nil {
		n.Fatal(err)
	}
	pv, err := n.client.Typed().CoreV1().PersistentVolumes().Get(n.Context(), pvc.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		n.Fatal(err)
	}
	path := ""
	switch {
	case pv.Spec.HostPath != nil:
		path = pv.Spec.HostPath.Path
	case pv.Spec.Local != nil:
		path = pv.Spec.Local.Path
	default:
		n.Fatalf("volume %s is no folder of the node", pv.Name)
	}
	return filepath.Join(n.root, path)
}

// find gives one claim as a snapshot finds it.
func (n *node) find(name string) volumes.Volume {
	n.Helper()
	all, err := volumes.Find(n.Context(), n.client)
	if err != nil {
		n.Fatal(err)
	}
	for _, v := range all {
		if v.String() == namespace+"/"+name {
			return v
		}
	}
	n.Fatalf("no claim %s is found", name)
	return volumes.Volume{}
}

// progress keeps notes.
func (n *node) progress(u plan.Update) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if text := u.Note + u.Warning; text != "" {
		n.notes = append(n.notes, text)
	}
}

func (n *node) noted() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.notes, "\n")
}

// backup takes one claim.
func (n *node) backup(name string) state.Claim {
	n.Helper()
	claims, err := n.mover.Backup(n.Context(), []volumes.Volume{n.find(name)}, n.progress)
	if err != nil {
		n.Fatal(err)
	}
	return claims[0]
}

// leaves wants no mover and none of its Secrets.
func (n *node) leaves() {
	n.Helper()
	selector := metav1.ListOptions{LabelSelector: "rekindle.dev/mover=true"}
	n.until("nothing to be left of movers", func(ctx context.Context) (bool, string, error) {
		jobs, err := n.client.Typed().BatchV1().Jobs("").List(ctx, selector)
		if err != nil {
			return false, "", err
		}
		pods, err := n.client.Typed().CoreV1().Pods("").List(ctx, selector)
		if err != nil {
			return false, "", err
		}
		secrets, err := n.client.Typed().CoreV1().Secrets("").List(ctx, selector)
		if err != nil {
			return false, "", err
		}
		return len(jobs.Items)+len(pods.Items)+len(secrets.Items) == 0, fmt.Sprintf("%d Jobs, %d pods, %d Secrets", len(jobs.Items), len(pods.Items), len(secrets.Items)), nil
	})
}
