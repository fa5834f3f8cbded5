package bootstrap

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/bootstrap/flux"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/stacks"
)

// What a path below brings its own keys for, the path itself needs none for.
func TestWhatPathsBelowEncryptIsTheirs(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"prod/apps.yaml": "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: tenants}\n" +
			"spec: {path: ./apps, sourceRef: {kind: GitRepository, name: rekindle, namespace: flux-system}, decryption: {provider: sops, secretRef: {name: tenants}}}\n",
		"apps/secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: tenants}\nsops: {mac: x}\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	folder, err := gitrepo.OpenFolder(t.Context(), dir, config.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := folder.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := gitrepo.Render(t.Context(), tree.FS(), "prod", gitrepo.Source{Namespace: "flux-system", Name: "rekindle"})
	if err != nil {
		t.Fatal(err)
	}
	j := &Job{
		docs: &config.Documents{Cluster: &config.Cluster{Spec: config.ClusterSpec{Source: &config.Source{Path: "prod"}}}},
		tree: tree, rendered: rendered, follower: flux.New(config.Flux{}),
	}
	target, want := j.declaredTarget(), []string{"apps/secret.yaml"}
	if !slices.Equal(target.Encrypted, want) || !slices.Equal(target.Below, want) {
		t.Errorf("encrypted %v, below %v", target.Encrypted, target.Below)
	}
	if _, err := j.checkSource().Do(t.Context(), nil); err != nil {
		t.Errorf("Flux is found unable: %v", err)
	}
}

// A folder that the cluster could not get is compared all the same with what there is, as if it were pushed; up is refused.
func TestAFolderThatTheClusterDoesNotReachIsOnlyLookedAt(t *testing.T) {
	const url = "https://git.example.com/ops.git"
	j := &Job{
		docs:  &config.Documents{Cluster: &config.Cluster{Spec: config.ClusterSpec{Source: &config.Source{URL: url}}}},
		tools: Tools{Provider: finder{}, Source: &SourceServer{}}, follower: flux.New(config.Flux{}),
	}
	warned := ""
	progress := func(u plan.Update) { warned += u.Warning }
	if err := j.sourceReachable(t.Context(), progress); fault.KindOf(err) != fault.Usage || warned != "" {
		t.Errorf("up: %v, %q", err, warned)
	}
	if _, err := j.target(t.Context()); err == nil {
		t.Error("up points the cluster at a folder that it cannot get")
	}
	j.OnlyLook()
	if err := j.sourceReachable(t.Context(), progress); err != nil || !strings.Contains(warned, "as if it were pushed to "+url) {
		t.Errorf("plan: %v, %q", err, warned)
	}
	if target, err := j.target(t.Context()); err != nil || target.Source.URL != url || target.Served {
		t.Errorf("%+v, %v", target, err)
	}
}

// A repository that cannot be reached hides no key that is missing.
func TestKeysAreReadBesideTheRepository(t *testing.T) {
	j := &Job{
		docs: &config.Documents{Cluster: &config.Cluster{Spec: config.ClusterSpec{
			Source: &config.Source{URL: "https://git.example.com/ops.git"},
			Keys: []config.Key{
				{Name: "sealed", From: config.KeySource{Repo: "keys/sealed.age", IdentityFile: "id"}},
				{Name: "git", From: config.KeySource{Env: map[string]string{"password": "NO_SUCH_VARIABLE"}}},
			},
		}}},
		stack: &stacks.Stack{}, state: noState{},
	}
	p := j.Prepare()
	if needs := p.Step("keys/read").Needs(); len(needs) > 0 {
		t.Errorf("what needs no repository waits for %v", needs)
	}
	if needs := p.Step("keys/repository").Needs(); !slices.Equal(needs, []plan.ID{"source", "keys/read"}) {
		t.Errorf("what is in the repository waits for %v", needs)
	}
	if _, err := p.Step("keys/read").Do(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "key git: ") || strings.Contains(err.Error(), "sealed") {
		t.Errorf("got %v", err)
	}
}
