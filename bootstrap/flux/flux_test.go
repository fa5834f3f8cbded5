package flux_test

import (
	"context"
	"encoding/json"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

// lab is a cluster on which Flux's real controllers run, and the repository that they follow.
type lab struct {
	*testing.T
	cluster *providers.Cluster
	client  *kube.Client
	watcher *kube.Watcher
	flux    *flux.Flux
	repo    string // working tree
	target  reconciler.Target
}

func newLab(t *testing.T) *lab {
	t.Helper()
	cluster := kwoktest.Shared(t)
	client, err := kube.Connect(cluster.REST)
	if err != nil {
		t.Fatal(err)
	}
	watcher := client.Watch(t.Context())
	t.Cleanup(watcher.Close)
	l := &lab{T: t, cluster: cluster, client: client, watcher: watcher, flux: flux.New(config.Flux{}), repo: t.TempDir()}
	l.installFlux()
	l.serve()
	t.Cleanup(func() { l.remove(context.WithoutCancel(t.Context())) })
	return l
}

// remove takes everything away, and sees that it is gone.
func (l *lab) remove(ctx context.Context) {
	l.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	watcher := l.client.Watch(ctx)
	defer watcher.Close()
	if _, err := l.flux.Remove(ctx, l.client, watcher, reconciler.Before{}, nil); err != nil {
		l.Error(err)
	}
	for _, ref := range []kube.Ref{{Version: "v1", Kind: "Namespace", Name: "shop"},
		{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Kind: "Kustomization", Namespace: "flux-system", Name: "rekindle"},
		{Group: "source.toolkit.fluxcd.io", Version: "v1", Kind: "GitRepository", Namespace: "flux-system", Name: "rekindle"}} {
		if obj, err := l.client.Get(ctx, ref); err != nil || obj != nil {
			l.Errorf("left after Remove: %s (%v)", ref, err)
		}
	}
}

// installFlux applies the controllers' own CRDs and runs the controllers on the host.
func (l *lab) installFlux() {
	l.Helper()
	crds := append(l.crdsOf("github.com/fluxcd/source-controller", "v1.9.6"),
		l.crdsOf("github.com/fluxcd/kustomize-controller", "v1.9.4")...)
	if _, err := l.client.EstablishCRDs(l.Context(), crds, nil); err != nil {
		l.Fatal(err)
	}
	l.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: flux-system}")
	if _, err := kwoktest.Provider(l).RunOnHost(l.Context(), l.cluster.Ref, l.flux.HostProcesses(), nil); err != nil {
		l.Fatal(err)
	}
}

func (l *lab) crdsOf(module, version string) []*unstructured.Unstructured {
	l.Helper()
	out := l.run(l.TempDir(), "go", "mod", "download", "-json", module+"@"+version)
	var found struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		l.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(found.Dir, "config/crd/bases/*.yaml"))
	if err != nil || len(files) == 0 {
		l.Fatalf("no CRDs in %s: %v", found.Dir, err)
	}
	var crds []*unstructured.Unstructured
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			l.Fatal(err)
		}
		objs, err := kube.ParseManifest(raw)
		if err != nil {
			l.Fatal(err)
		}
		crds = append(crds, objs...)
	}
	return crds
}

// serve serves the repository over smart HTTP.
func (l *lab) serve() {
	l.Helper()
	l.run(l.repo, "git", "init", "-q", "-b", "main")
	git, err := exec.LookPath("git")
	if err != nil {
		l.Fatal(err)
	}
	server := httptest.NewServer(&cgi.Handler{Path: git, Args: []string{"http-backend"},
		Env: []string{"GIT_PROJECT_ROOT=" + l.repo, "GIT_HTTP_EXPORT_ALL=1"}})
	l.Cleanup(server.Close)
	l.target.Source = config.Source{URL: server.URL + "/.git", Path: "app",
		Ref: config.Ref{Branch: "main"}, Interval: config.Duration{Duration: 5 * time.Second}}
}

// commit makes the files the content of the repository's folder app.
func (l *lab) commit(files map[string]string) {
	l.Helper()
	if err := os.RemoveAll(filepath.Join(l.repo, "app")); err != nil {
		l.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(l.repo, "app", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			l.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			l.Fatal(err)
		}
	}
	l.run(l.repo, "git", "add", "-A")
	l.run(l.repo, "git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", "change")
	l.target.Commit = strings.TrimSpace(l.run(l.repo, "git", "rev-parse", "HEAD"))
}

func (l *lab) run(dir, name string, args ...string) string {
	l.Helper()
	cmd := exec.CommandContext(l.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.Output()
	if err != nil {
		l.Fatalf("%s %v: %v", name, args, err)
	}
	return string(out)
}

func (l *lab) apply(manifest string) {
	l.Helper()
	objs, err := kube.ParseManifest([]byte(manifest))
	if err != nil {
		l.Fatal(err)
	}
	if _, err := l.client.Apply(l.Context(), objs, kube.ApplyOptions{Manager: "test", Force: true}); err != nil {
		l.Fatal(err)
	}
}

// up does what a run does: follow, then sync.
func (l *lab) up(timeout time.Duration) (plan.Outcome, error) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), timeout)
	defer cancel()
	p := plan.Progress(func(u plan.Update) { l.Log(u.Waiting + u.Note + u.Warning) })
	followed, err := l.flux.Follow(ctx, l.client, l.watcher, l.target, false, p)
	if err != nil {
		return followed, err
	}
	synced, err := l.flux.Sync(ctx, l.client, l.watcher, l.target, false, p)
	if followed == plan.Changed {
		return followed, err
	}
	return synced, err
}

func (l *lab) mustUp() plan.Outcome {
	l.Helper()
	outcome, err := l.up(time.Minute)
	if err != nil {
		l.Fatal(err)
	}
	return outcome
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example.com/web}]}
`

const namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"

func TestSyncIsProvenAndRepeatedWithoutAWrite(t *testing.T) {
	l := newLab(t)
	l.commit(map[string]string{"ns.yaml": namespace, "web.yaml": deployment})
	if outcome := l.mustUp(); outcome != plan.Changed {
		t.Errorf("first run: %s", outcome)
	}
	web := kube.Ref{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "web"}
	if err := l.client.Check(t.Context(), []kube.Ref{web}); err != nil {
		t.Errorf("after a sync: %v", err)
	}

	since := time.Now()
	if outcome := l.mustUp(); outcome != plan.Unchanged {
		t.Errorf("second run: %s", outcome)
	}
	if writes := kwoktest.AuditWrites(t, l.cluster, since); len(writes) > 0 {
		t.Errorf("second run wrote %v", writes)
	}
	if err := l.flux.Status(t.Context(), l.client, l.target); err != nil {
		t.Errorf("status: %v", err)
	}

	t.Run("a hand edit is reverted", func(t *testing.T) {
		if err := l.client.MergePatch(t.Context(), web, []byte(`{"spec":{"replicas":5}}`)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		err := l.watcher.Until(ctx, web, "reverted", func(obj *unstructured.Unstructured) kube.Health {
			replicas, _, _ := unstructured.NestedInt64(obj.Object, "spec", "replicas")
			return kube.Health{Ready: replicas == 2}
		}, nil)
		if err != nil {
			t.Error(err)
		}
	})
}

func TestKustomizationsInTheRepositoryAreFollowed(t *testing.T) {
	l := newLab(t)
	nested := `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: web, namespace: flux-system}
spec:
  interval: 1h
  retryInterval: 5s
  prune: true
  path: ./app/web
  targetNamespace: shop
  sourceRef: {kind: GitRepository, name: rekindle}
`
	deployment := strings.Replace(deployment, ", namespace: shop", "", 1) // it gets it from its Kustomization
	files := map[string]string{"kustomization.yaml": "resources: [ns.yaml, nested.yaml]\n", "ns.yaml": namespace,
		"nested.yaml": nested, "web/web.yaml": deployment}
	l.commit(files)
	l.mustUp()
	web := kube.Ref{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "web"}
	if err := l.client.Check(t.Context(), []kube.Ref{web}); err != nil {
		t.Errorf("what the inner one applies: %v", err)
	}
	if err := l.flux.Status(t.Context(), l.client, l.target); err != nil {
		t.Errorf("status: %v", err)
	}
	if refs, err := l.flux.Workloads(t.Context(), l.client, l.target); err != nil || !slices.Contains(refs, web) {
		t.Errorf("the workloads are %v, %v", refs, err)
	}

	files["web/web.yaml"] = strings.Replace(deployment, "replicas: 2", "replicas: -1", 1)
	l.commit(files)
	_, err := l.up(time.Minute)
	if err == nil || !strings.Contains(err.Error(), "Kustomization flux-system/web") || !strings.Contains(err.Error(), "must be greater than or equal to 0") {
		t.Errorf("got %v", err)
	}
	files["web/web.yaml"] = deployment
	l.commit(files)
	l.mustUp()
}
