package flux_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// named is the lab with another name for what points Flux at the repository.
func (l *lab) named(name string) {
	l.flux = flux.New(config.Flux{Name: name})
}

// render has the target know what the path renders to, as a run does, and says whether Flux can apply it.
func (l *lab) render(name string) error {
	l.Helper()
	source := gitrepo.Source{Origin: gitrepo.NewOrigin(l.target.Source.URL, l.target.Source.Ref), Namespace: "flux-system", Name: name}
	rendered, err := gitrepo.Render(l.Context(), os.DirFS(l.repo), l.target.Source.Path, source)
	if err != nil {
		return err
	}
	l.target.Repo, l.target.Objects = os.DirFS(l.repo), nil
	for _, r := range rendered.All() {
		for _, obj := range r.Objects {
			l.target.Objects = append(l.target.Objects, &unstructured.Unstructured{Object: obj})
		}
	}
	return l.flux.Check(l.Context(), l.target)
}

// child is a Kustomization as the examples of flux bootstrap have them: seldom looked at, made from flux-system.
func child(name, dir, more string) string {
	return "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: " + name + ", namespace: flux-system}\n" +
		"spec: {interval: 1h, retryInterval: 1h, prune: true, path: ./app/" + dir + ", sourceRef: {kind: GitRepository, name: flux-system}" + more + "}\n"
}

// layout is a repository in the shape of flux bootstrap's examples; its path is app/clusters/prod.
func layout(version string) map[string]string {
	settings := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: shop}\ndata: {version: '" + version + "'}\n"
	return map[string]string{
		"clusters/prod/infrastructure.yaml": child("infrastructure", "infrastructure", ", wait: true"),
		"clusters/prod/apps.yaml":           child("apps", "apps/prod", ", dependsOn: [{name: infrastructure}]"),
		"infrastructure/ns.yaml":            namespace,
		"apps/prod/kustomization.yaml":      "resources: [../base]\n",
		"apps/base/kustomization.yaml":      "resources: [settings.yaml, web.yaml]\n",
		"apps/base/settings.yaml":           settings,
		"apps/base/web.yaml":                deployment,
	}
}

var settings = kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "shop", Name: "settings"}

// wantVersion sees that the newest commit is there.
func (l *lab) wantVersion(want string) {
	l.Helper()
	obj, err := l.client.Get(l.Context(), settings)
	if err != nil || obj == nil {
		l.Fatalf("no settings: %v", err)
	}
	if got, _, _ := unstructured.NestedString(obj.Object, "data", "version"); got != want {
		l.Errorf("the application is at %q, want %q", got, want)
	}
}

func TestTheLayoutOfFluxBootstrapIsProvenAtTheCommit(t *testing.T) {
	l := newLab(t)
	l.named("flux-system")
	l.target.Source.Path = "app/clusters/prod"
	for _, version := range []string{"1", "2"} {
		l.commit(layout(version))
		if err := l.render("flux-system"); err != nil {
			t.Fatal(err)
		}
		l.mustUp()
		l.wantVersion(version)
		if err := l.flux.Status(t.Context(), l.client, l.target); err != nil {
			t.Errorf("status: %v", err)
		}
	}
	l.named("rekindle")
	if _, err := l.flux.Point(t.Context(), l.client, l.target, true); fault.KindOf(err) != fault.Refused {
		t.Errorf("pointed a second time, by another name: %v", err)
	}
	moved := flux.New(config.Flux{Namespace: "elsewhere", Name: "flux-system"})
	_, err := moved.Point(t.Context(), l.client, l.target, true)
	if fault.KindOf(err) != fault.Refused || !strings.Contains(strings.Join(fault.Hints(err), ""), "set spec.reconciler.flux.namespace to flux-system again") {
		t.Errorf("pointed a second time, in another namespace: %v, %q", err, fault.Hints(err))
	}
	l.named("flux-system")
}

// A GitRepository of the same repository that is committed, and looked at once an hour, is told to look, and awaited.
func TestACommittedGitRepositoryIsPokedAndAwaited(t *testing.T) {
	l := newLab(t)
	l.target.Source.Path = "app/clusters/prod"
	for _, version := range []string{"1", "2"} {
		files := layout(version)
		files["clusters/prod/gotk-sync.yaml"] = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: flux-system, namespace: flux-system}\n" +
			"spec: {interval: 1h, url: '" + l.target.Source.URL + "', ref: {branch: main}}\n"
		l.commit(files)
		if err := l.render("rekindle"); err != nil {
			t.Fatal(err)
		}
		l.mustUp()
		l.wantVersion(version)
	}
}

func TestWhatFluxBootstrapWroteIsRefusedWhereItCollides(t *testing.T) {
	const (
		components = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: source-controller, namespace: flux-system}\n" +
			"spec: {selector: {matchLabels: {app: x}}, template: {metadata: {labels: {app: x}}, spec: {containers: [{name: manager, image: x}]}}}\n"
		sync = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: flux-system, namespace: flux-system}\n" +
			"spec: {interval: 1h, url: 'https://git.example.com/ops.git', ref: {branch: main}}\n"
	)
	again := sync + "---\n" + child("flux-system", "clusters/prod/", "")
	for name, c := range map[string]struct{ manifest, named, says string }{
		"the controllers":            {components, "rekindle", "Deployment flux-system/source-controller"},
		"others of the name":         {strings.Replace(components, "flux-system}", "other}", 1), "rekindle", ""},
		"the objects":                {sync, "flux-system", "GitRepository flux-system/flux-system"},
		"the objects, another name":  {sync, "rekindle", ""},
		"the objects, older version": {strings.Replace(sync, "/v1\n", "/v1beta2\n", 1), "flux-system", "GitRepository flux-system/flux-system"},
		"the path, another name":     {again, "rekindle", "Kustomization flux-system/flux-system: applies the same path"},
		"the path, by our source":    {child("again", "clusters/prod", ""), "flux-system", "Kustomization flux-system/again: applies the same path"},
		"the path, suspended":        {again[:len(again)-2] + ", suspend: true}\n", "rekindle", ""},
		"the path, elsewhere":        {again[:len(again)-2] + ", kubeConfig: {secretRef: {name: other}}}\n", "rekindle", ""},
		"the path, another branch":   {strings.Replace(again, "main", "next", 1), "rekindle", ""},
		"a path below":               {sync + "---\n" + child("apps", "clusters/prod/apps", ""), "rekindle", ""},
	} {
		objs, err := kube.ParseManifest([]byte(c.manifest))
		if err != nil {
			t.Fatal(err)
		}
		l := &lab{T: t}
		l.target.Objects = objs
		l.target.Source = config.Source{URL: "ssh://git@git.example.com/ops", Path: "./app/clusters/prod"}
		err = flux.New(config.Flux{Name: c.named}).Check(t.Context(), l.target)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(fault.Text(err), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// brief is up with a time that is too short to wait for what does not come.
func (l *lab) brief() (string, error) {
	l.Helper()
	warned := ""
	ctx, cancel := context.WithTimeout(l.Context(), 40*time.Second)
	defer cancel()
	p := plan.Progress(func(u plan.Update) { l.Log(u.Waiting + u.Note + u.Warning); warned += u.Warning + "\n" })
	if _, err := l.flux.Follow(ctx, l.client, l.watcher, l.target, false, p); err != nil {
		return warned, err
	}
	_, err := l.flux.Sync(ctx, l.client, l.watcher, l.target, false, p)
	return warned, err
}
