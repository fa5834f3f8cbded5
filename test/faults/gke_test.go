package faults

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers/kwok"
	"github.com/rekindle-dev/rekindle/test/gke"
)

const onGKE = `apiVersion: rekindle.dev/v1alpha1
kind: Cluster
metadata: {name: cloud}
spec:
  provider:
    gke: {project: acme-prod, location: europe-west6-a, nodePools: [{name: default, nodes: 1}]}
`

// google is a user's machine with an emulator of GKE, behind whose clusters simulated ones stand.
type google struct {
	*world
	server *gke.Server
	behind kwok.Options // of the control planes behind its clusters
}

func newGoogle(t *testing.T, script ...gke.Fault) *google {
	t.Helper()
	return newGoogleAt(t, gke.Pace{Change: 5 * time.Second}, script...)
}

func newGoogleAt(t *testing.T, pace gke.Pace, script ...gke.Fault) *google {
	t.Helper()
	w := newWorld(t)
	behind := kwok.Options{State: t.TempDir(), Supervisor: []string{binary, "supervise"}}
	s, err := gke.Open(t.Context(), gke.Options{Dir: t.TempDir(), Kwok: behind, Script: script, Pace: pace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Destroy(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	w.env = []string{"REKINDLE_GKE_ENDPOINT=" + s.URL(), "REKINDLE_GKE_CA=" + s.CAFile(), "GOOGLE_APPLICATION_CREDENTIALS=" + s.CredentialsFile()}
	return &google{w, s, behind}
}

// cluster commits the document of a small cluster and gives its file.
func (g *google) cluster(name string) (file string) {
	g.t.Helper()
	file = "clusters/dev/" + name + ".yaml"
	g.commit(map[string]string{file: strings.Replace(onGKE, "name: cloud", "name: "+name, 1)})
	return file
}

// call runs the command and wants an exit code.
func (g *google) call(code int, args ...string) string {
	g.t.Helper()
	cmd := g.cmd(g.t.Context(), args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		g.t.Fatalf("rekindle %v: %v, want exit %d\n%s", args, err, code, out)
	}
	return string(out)
}

// changes are the steps that changed something.
func (g *google) changes(args ...string) (ids []plan.ID) {
	g.t.Helper()
	for _, s := range lastLine(g.t, g.call(0, asJSON(args)...)).Steps {
		if s.Outcome == plan.Changed || s.Outcome == plan.Adopted {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// reach is a client of the context that up added, whose tokens the command prints.
func (g *google) reach(name string) kubernetes.Interface {
	g.t.Helper()
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: g.kubeconfig()}, &clientcmd.ConfigOverrides{CurrentContext: name}).ClientConfig()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, v := range g.env {
		key, value, _ := strings.Cut(v, "=")
		config.ExecProvider.Env = append(config.ExecProvider.Env, api.ExecEnvVar{Name: key, Value: value})
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		g.t.Fatal(err)
	}
	return client
}

// TestGKEFromUpToDown has the command make, list and take away a cluster with a balancer and a claim.
func TestGKEFromUpToDown(t *testing.T) {
	g := newGoogle(t)
	file := g.cluster("cloud")
	if first := g.changes("up", file); !slices.Contains(first, "provision") {
		t.Errorf("up changed %v", first)
	}
	if again := g.changes("up", file); len(again) > 0 {
		t.Errorf("the second up changed %v", again)
	}
	g.call(0, "status", file)
	list := []string{"list", "--provider", "gke", "--project", "acme-prod"}
	if out := g.call(0, list...); !strings.Contains(out, "cloud") {
		t.Errorf("the list is\n%s", out)
	}
	g.server.SetScript(gke.Fault{Method: "ListClusters", Until: -1, Missing: []string{"europe-west6-b"}})
	if out := g.call(1, list...); !strings.Contains(out, "europe-west6-b") {
		t.Errorf("the partial list is\n%s", out)
	}
	g.call(1, "gc", "--provider", "gke", "--project", "acme-prod")
	g.server.SetScript()

	outward(t, g.reach("gke-cloud"))
	if down := g.changes("down", "--yes", file); !slices.Contains(down, "release") {
		t.Errorf("down changed %v", down)
	}
	if left := g.server.Left(); len(left) > 0 {
		t.Errorf("Google is left with %+v", left)
	}
	if again := g.changes("down", "--yes", file); len(again) > 0 {
		t.Errorf("the second down changed %v", again)
	}
}

// outward makes what would outlive a cluster: a balancer and a claim, which has its volume then.
func outward(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}},
	}}
	if _, err := client.CoreV1().Services("default").Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
	claims := client.CoreV1().PersistentVolumeClaims("default")
	if _, err := claims.Create(t.Context(), claim, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bound := wait.Func("the claim is bound", func(ctx context.Context) (bool, string, error) {
		now, err := claims.Get(ctx, "data", metav1.GetOptions{})
		return err == nil && now.Status.Phase == corev1.ClaimBound, "", err
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := wait.Poll(ctx, bound, time.Second, nil); err != nil {
		t.Fatal(err)
	}
}
