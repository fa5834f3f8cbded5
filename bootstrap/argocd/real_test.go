//go:build argocd

package argocd_test

import (
	"context"
	"errors"
	"net"
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
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
	"github.com/rekindle-dev/rekindle/test/lab/content"
)

// lab is a stage on which Argo CD's own controllers run, as processes of this machine, and the repository that they follow.
type lab struct {
	*stage
	repo, home, kubeconfig string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{stage: newStage(t, "argocd"), repo: t.TempDir(), home: t.TempDir()}
	for _, kind := range []string{"ConfigMap\nmetadata: {name: argocd-cm,", "ConfigMap\nmetadata: {name: argocd-rbac-cm,", "Secret\nmetadata: {name: argocd-secret,"} {
		l.apply("apiVersion: v1\nkind: " + kind + " namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}\n")
	}
	l.kubeconfig = filepath.Join(l.home, "kubeconfig")
	if err := clientcmd.WriteToFile(*kwoktest.Shared(t).Kubeconfig, l.kubeconfig); err != nil {
		t.Fatal(err)
	}
	l.programs()
	at := l.addresses(4)
	redis, server := at[0], at[1]
	l.start("redis-server", "--save", "", "--bind", "127.0.0.1", "--port", port(redis))
	l.start("argocd-repo-server", "--redis", redis, "--address", "127.0.0.1", "--port", port(server),
		"--metrics-address", "127.0.0.1", "--metrics-port", port(at[2]))
	l.start("argocd-application-controller", "--kubeconfig", l.kubeconfig, "--namespace", "argocd", "--redis", redis,
		"--repo-server", server, "--metrics-port", port(at[3]), "--app-resync", "600")
	l.serve()
	t.Cleanup(l.remove)
	return l
}

// remove takes everything away for the next test.
func (l *lab) remove() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.Context()), time.Minute)
	defer cancel()
	watcher := l.client.Watch(ctx)
	defer watcher.Close()
	if _, err := l.argo.Remove(ctx, l.client, watcher, reconciler.Before{}, nil); err != nil {
		l.Error(err)
	}
}

// programs puts those of the lab's image into a folder, under the names by which they act.
func (l *lab) programs() {
	l.Helper()
	images, err := content.Extra("argocd")
	if err != nil {
		l.Fatal(err)
	}
	image := images[0]
	archive, err := content.Module(image.Module)
	if err != nil {
		l.Fatal(err)
	}
	m := assets.Module{Name: image.Module, Archive: archive, LDFlags: image.LDFlags}
	for name, pkg := range image.Package {
		m.Programs = append(m.Programs, assets.Program{Name: name, Package: pkg})
	}
	slices.SortFunc(m.Programs, func(a, b assets.Program) int { return strings.Compare(a.Name, b.Name) })
	cache, err := assets.Open("")
	if err != nil {
		l.Fatal(err)
	}
	built, err := cache.Build(l.Context(), m, func(plan.Update) {})
	if err != nil {
		l.Fatal(err)
	}
	links := map[string]string{"kustomize": built["kustomize"]}
	for path := range image.Links {
		links[filepath.Base(path)] = built["argocd"]
	}
	bin := filepath.Join(l.home, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		l.Fatal(err)
	}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(bin, name)); err != nil {
			l.Fatal(err)
		}
	}
	for path, text := range image.Files {
		if strings.HasPrefix(text, "#!") {
			if err := os.WriteFile(filepath.Join(bin, filepath.Base(path)), []byte(text), 0o755); err != nil {
				l.Fatal(err)
			}
		}
	}
}

// addresses are some of this machine that are free. All are held until the last is known, so that none is given twice.
func (l *lab) addresses(count int) (list []string) {
	l.Helper()
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			l.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
		list = append(list, listener.Addr().String())
	}
	return list
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// start runs a program until the test ends, and shows the end of what it wrote if the test fails.
func (l *lab) start(name string, args ...string) {
	l.Helper()
	path := filepath.Join(l.home, "bin", name)
	if name == "redis-server" {
		var err error
		if path, err = exec.LookPath(name); err != nil {
			l.Fatalf("%v: apt-get install redis-server", err)
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(l.Context()))
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "HOME="+l.home, "KUBECONFIG="+l.kubeconfig, "PATH="+filepath.Join(l.home, "bin")+":"+os.Getenv("PATH"),
		"ARGOCD_FAKE_IN_CLUSTER=true", "ARGOCD_GPG_ENABLED=false", "ARGOCD_CONTROLLER_REPLICAS=1", "TMPDIR="+l.home)
	log, err := os.Create(filepath.Join(l.home, name+".log"))
	if err != nil {
		l.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed
		_ = log.Close()
		if raw, err := os.ReadFile(log.Name()); err == nil && l.Failed() {
			l.Logf("%s: …%s", name, raw[max(0, len(raw)-3000):])
		}
	})
}

// serve serves the repository over smart HTTP.
func (l *lab) serve() {
	l.Helper()
	l.git("init", "-q", "-b", "main")
	git, err := exec.LookPath("git")
	if err != nil {
		l.Fatal(err)
	}
	server := httptest.NewServer(&cgi.Handler{Path: git, Args: []string{"http-backend"},
		Env: []string{"GIT_PROJECT_ROOT=" + l.repo, "GIT_HTTP_EXPORT_ALL=1"}})
	l.Cleanup(server.Close)
	l.target.Source = config.Source{URL: server.URL + "/.git", Path: "app", Ref: config.Ref{Branch: "main"}}
}

func (l *lab) git(args ...string) string {
	l.Helper()
	cmd := exec.CommandContext(l.Context(), "git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	cmd.Dir, cmd.Env = l.repo, append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.Output()
	if err != nil {
		l.Fatalf("git %v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// commit makes the files the content of the repository's folder app.
func (l *lab) commit(files map[string]string) {
	l.Helper()
	if err := os.RemoveAll(filepath.Join(l.repo, "app")); err != nil {
		l.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(l.repo, "app", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			l.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			l.Fatal(err)
		}
	}
	l.git("add", "-A")
	l.git("commit", "-q", "-m", "change")
	l.target.Commit, l.target.Plain = l.git("rev-parse", "HEAD"), files["kustomization.yaml"] == ""
}

// up does what a run does: point, follow, sync.
func (l *lab) up(path bool) (plan.Outcome, error) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	pointed := l.point(path)
	fresh := pointed == plan.Changed
	followed, err := l.argo.Follow(ctx, l.client, l.watcher, l.target, fresh, nil)
	if err != nil {
		return followed, err
	}
	outcome, err := l.argo.Sync(ctx, l.client, l.watcher, l.target, fresh, nil)
	if fresh || followed == plan.Changed {
		outcome = plan.Changed
	}
	return outcome, err
}

func (l *lab) mustUp(path bool, want plan.Outcome) {
	l.Helper()
	if outcome, err := l.up(path); outcome != want || err != nil {
		l.Fatalf("%s, %v, want %s", outcome, err, want)
	}
	if err := l.argo.Status(l.Context(), l.client, l.target); err != nil {
		l.Errorf("status: %v", err)
	}
}

// failsEarly wants a commit to be found hopeless before its time is over, and up and status to say why.
func (l *lab) failsEarly(says ...string) {
	l.Helper()
	outcome, err := l.up(true)
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		l.Fatalf("%s, %v", outcome, err)
	}
	status := l.argo.Status(l.Context(), l.client, l.target)
	for _, text := range says {
		if !strings.Contains(err.Error(), text) || status == nil || !strings.Contains(status.Error(), text) {
			l.Errorf("%q is not told by up: %v, and by status: %v", text, err, status)
		}
	}
}

const (
	shop = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
	web  = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example.com/web}]}
`
	later = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: later, namespace: shop, annotations: {argocd.argoproj.io/sync-wave: \"2\"}}\n"
	inner = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: inner, namespace: argocd}
spec:
  project: prod
  source: {repoURL: URL, path: app/inner, targetRevision: main}
  destination: {server: https://kubernetes.default.svc, namespace: shop}
  syncPolicy: {automated: {prune: true}}
`
	more = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n"
)

// TestArgoCDItself plays nothing: it has Argo CD's own controllers follow a repository through good and bad commits.
func TestArgoCDItself(t *testing.T) {
	l := newLab(t)
	deployment := kube.Ref{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "web"}
	l.commit(map[string]string{"ns.yaml": shop, "web.yaml": web})
	l.mustUp(false, plan.Changed)
	l.mustUp(true, plan.Unchanged)
	if err := l.client.Check(t.Context(), []kube.Ref{deployment}); err != nil {
		t.Error(err)
	}

	if err := l.client.MergePatch(t.Context(), deployment, []byte(`{"spec":{"replicas":5}}`)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.argo.Again(ctx, l.client, l.watcher, l.target, nil, nil); err != nil {
		t.Fatal(err)
	}
	if obj, err := l.client.Get(t.Context(), deployment); err != nil || replicas(obj) != 2 {
		t.Errorf("a hand edit stays: %v, %v", replicas(obj), err)
	}

	l.commit(map[string]string{"ns.yaml": shop, "web.yaml": strings.Replace(web, "replicas: 2", "replicas: -1", 1)})
	l.failsEarly("Deployment", "web", "must be greater than or equal to 0")
	l.commit(map[string]string{"kustomization.yaml": "resources: [gone.yaml]\n"})
	l.failsEarly("kustomize build", "gone.yaml")
	l.commit(map[string]string{"kustomization.yaml": "resources: [ns.yaml, web.yaml]\n", "ns.yaml": shop, "web.yaml": web})
	l.mustUp(true, plan.Changed)
}

func replicas(obj *unstructured.Unstructured) int64 {
	if obj == nil {
		return 0
	}
	n, _, _ := unstructured.NestedInt64(obj.Object, "spec", "replicas")
	return n
}

// TestAWaveThatWaitsIsLeftForTheNextCommit has an operation wait for ever, which Argo CD would not end by itself.
func TestAWaveThatWaitsIsLeftForTheNextCommit(t *testing.T) {
	l := newLab(t)
	l.commit(map[string]string{"kustomization.yaml": "resources: [ns.yaml, web.yaml, later.yaml]\n", "ns.yaml": shop, "later.yaml": later,
		"web.yaml": strings.Replace(web, "spec: {containers", "spec: {nodeSelector: {no: where}, containers", 1)})
	l.point(true)
	applying, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := l.argo.Apply(applying, l.client, l.watcher, l.target, true, nil); err != nil {
		t.Fatalf("what is applied as far as it goes: %v", err)
	}
	if err := l.argo.Status(t.Context(), l.client, l.target); err == nil || !strings.Contains(err.Error(), "web") {
		t.Errorf("status: %v", err)
	}
	l.commit(map[string]string{"kustomization.yaml": "resources: [ns.yaml, web.yaml, later.yaml, inner.yaml]\n", "ns.yaml": shop, "later.yaml": later,
		"web.yaml": web, "inner.yaml": strings.Replace(inner, "repoURL: URL", "repoURL: "+l.target.Source.URL, 1), "inner/more.yaml": more})
	l.mustUp(true, plan.Changed)

	if err := l.client.MergePatch(t.Context(), l.app, []byte(`{"spec":{"syncPolicy":{"automated":null}}}`)); err != nil {
		t.Fatal(err)
	}
	if err := l.argo.Status(t.Context(), l.client, l.target); err == nil || !strings.Contains(err.Error(), "suspended") {
		t.Errorf("status of one that is suspended: %v", err)
	}
	l.mustUp(true, plan.Changed)
	removing, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if outcome, err := l.argo.Remove(removing, l.client, l.watcher, reconciler.Before{}, nil); outcome != plan.Changed || err != nil {
		t.Fatalf("%s, %v", outcome, err)
	}
	for _, ref := range []kube.Ref{{Version: "v1", Kind: "Namespace", Name: "shop"}, {Version: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "more"},
		{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application", Namespace: "argocd", Name: "inner"}} {
		if obj, err := l.client.Get(t.Context(), ref); err != nil || obj != nil {
			t.Errorf("%s is left (%v)", ref, err)
		}
	}
}
