package repos

import (
	"context"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/keys"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

func environments() []string { return []string{"dev", "test", "prod"} }

// get fails the test on an error.
func get[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestDocumentsLoad(t *testing.T) {
	r := New(t)
	for _, env := range environments() {
		d := get[*config.Documents](t)(config.Load(r.Path("clusters/" + env + "/cluster.yaml")))
		if len(d.Stacks) != 1 || len(d.Stacks[0].Releases) < 6 {
			t.Errorf("%s: want one stack with six releases or more", env)
		}
		if n := chain(d.Stacks[0].Releases); n < 3 {
			t.Errorf("%s: the longest chain of needs has %d releases, want 3", env, n)
		}
	}
}

// chain is the length of the longest chain of needs.
func chain(releases []config.Release) int {
	longest := 0
	var length func(name string) int
	length = func(name string) int {
		i := slices.IndexFunc(releases, func(r config.Release) bool { return r.Name == name })
		n := 0
		for _, need := range releases[i].Needs {
			n = max(n, length(need))
		}
		return n + 1
	}
	for _, r := range releases {
		longest = max(longest, length(r.Name))
	}
	return longest
}

func TestOverlaysRenderAndKeyOpensTheirSecrets(t *testing.T) {
	r := New(t)
	t.Setenv("SOPS_AGE_KEY", get[string](t)(r.Key()))
	for _, env := range environments() {
		file := r.Path("clusters/" + env + "/cluster.yaml")
		d := get[*config.Documents](t)(config.Load(file))
		rendered := get[*gitrepo.Rendered](t)(gitrepo.Render(t.Context(), os.DirFS(r.Dir), d.Cluster.Spec.Source.Path, gitrepo.Source{}))
		if want := path.Join("overlays", env, "credentials.enc.yaml"); !slices.Equal(rendered.Encrypted, []string{want}) {
			t.Errorf("%s: encrypted files %v, want %s", env, rendered.Encrypted, want)
		}
		secrets := get[[]keys.Secret](t)(keys.Load(t.Context(), d.Cluster.Spec.Keys, path.Dir(file), os.DirFS(r.Dir)))
		if err := keys.Prove(t.Context(), secrets, os.DirFS(r.Dir), rendered.Encrypted); err != nil {
			t.Errorf("%s: %v", env, err)
		}
	}
}

func TestNoSecretStandsInThePlain(t *testing.T) {
	r := New(t)
	err := fs.WalkDir(os.DirFS(r.Dir), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(r.Path(file))
		if strings.Contains(string(raw), "AGE-SECRET-KEY") {
			t.Errorf("%s holds the key", file)
		}
		if strings.HasSuffix(file, ".enc.yaml") && !strings.Contains(string(raw), "password: ENC[") {
			t.Errorf("%s is not encrypted", file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestServedHistory(t *testing.T) {
	r := New(t)
	first := get[string](t)(r.Head())
	const file = "overlays/dev/kustomization.yaml"
	before := string(get[[]byte](t)(os.ReadFile(r.Path(file))))
	if err := r.Replace(file, "newTag: \"15\"", "newTag: \"none\""); err != nil {
		t.Fatal(err)
	}
	bad := get[string](t)(r.Commit("Take a database that is not there", map[string]string{"overlays/dev/note.txt": "x"}))
	if got := fetched(t, r, file); !strings.Contains(got, `"none"`) {
		t.Errorf("after the commit the server has:\n%s", got)
	}
	healed := get[string](t)(r.Revert())
	if got := fetched(t, r, file); got != before {
		t.Errorf("after the revert the server has:\n%s", got)
	}
	if _, err := os.Stat(r.Path("overlays/dev/note.txt")); err == nil {
		t.Error("the file that the bad commit added is still there")
	}
	if slices.Contains([]string{first, bad}, healed) {
		t.Error("the revert is no commit of its own")
	}
}

// fetched is a file of the main branch as a client of the served repository gets it.
func fetched(t *testing.T, r *Repo, file string) string {
	t.Helper()
	folder := get[*gitrepo.Folder](t)(gitrepo.OpenFolder(t.Context(), r.Dir, config.Ref{Branch: Branch}))
	server := get[*gitrepo.Server](t)(gitrepo.Serve(t.Context(), folder, "127.0.0.1:0"))
	defer func() {
		if err := server.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	cache := gitrepo.NewCache(t.TempDir())
	remote := gitrepo.Remote{URL: server.URL(), Ref: config.Ref{Branch: Branch}}
	tree := get[*gitrepo.Tree](t)(cache.Open(t.Context(), remote, func(plan.Update) {}))
	return string(get[[]byte](t)(fs.ReadFile(tree.FS(), file)))
}
