// Package repos makes the sample ops repository into a Git repository, as its users would have it: a
// checkout with history, the charts in it, and its age key beside it.
//
// What a test changes it commits with [Repo.Commit], and takes back with [Repo.Revert]. To serve it, see
// gitrepo.OpenFolder and gitrepo.Serve.
package repos

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/rekindle-dev/rekindle/test/lab/charts"
)

// Branch is the one that has the commits.
const Branch = "main"

const (
	shop    = "shop"
	keyFile = "shop.agekey"
)

//go:embed all:shop shop.agekey
var files embed.FS

// Repo is a checkout of the sample repository.
type Repo struct {
	Dir     string // the checkout: its .git is in it
	KeyFile string // age identity that opens its secrets; beside the checkout, not in it
	git     *git.Repository
}

// New makes the repository in a folder of the test's own.
func New(t testing.TB) *Repo {
	t.Helper()
	r, err := Make(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Make makes parent/shop with one commit, and parent/shop.agekey.
func Make(parent string) (*Repo, error) {
	r := &Repo{Dir: filepath.Join(parent, shop), KeyFile: filepath.Join(parent, keyFile)}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, err
	}
	raw, err := files.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(r.KeyFile, raw, 0o600); err != nil {
		return nil, err
	}
	source, err := fs.Sub(files, shop)
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(r.Dir, source); err != nil {
		return nil, fmt.Errorf("copy the sample repository: %w", err)
	}
	if err := os.CopyFS(filepath.Join(r.Dir, "charts"), charts.Files()); err != nil {
		return nil, fmt.Errorf("copy the charts: %w", err)
	}
	r.git, err = git.PlainInitWithOptions(r.Dir, &git.PlainInitOptions{
		InitOptions: git.InitOptions{DefaultBranch: plumbing.NewBranchReferenceName(Branch)},
	})
	if err != nil {
		return nil, fmt.Errorf("make %s a Git repository: %w", r.Dir, err)
	}
	_, err = r.commit("Begin the shop")
	return r, err
}

// Key is the age identity that opens the secrets, as SOPS_AGE_KEY holds it.
func (r *Repo) Key() (string, error) {
	raw, err := os.ReadFile(r.KeyFile)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "AGE-SECRET-KEY-") {
			return strings.TrimSpace(line), nil
		}
	}
	return "", fmt.Errorf("%s holds no age identity", r.KeyFile)
}

// Path is the path on disk of a file of the repository.
func (r *Repo) Path(name string) string { return filepath.Join(r.Dir, filepath.FromSlash(name)) }

// Replace replaces a text that stands in a file exactly once. It is not committed.
func (r *Repo) Replace(name, old, text string) error {
	raw, err := os.ReadFile(r.Path(name))
	if err != nil {
		return err
	}
	if n := strings.Count(string(raw), old); n != 1 {
		return fmt.Errorf("%s has %q %d times, want once", name, old, n)
	}
	return os.WriteFile(r.Path(name), []byte(strings.Replace(string(raw), old, text, 1)), 0o644)
}

// Commit writes files, if any, and commits all changes to the checkout. It returns the commit's hash.
func (r *Repo) Commit(message string, changed map[string]string) (string, error) {
	for name, content := range changed {
		if err := os.MkdirAll(filepath.Dir(r.Path(name)), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(r.Path(name), []byte(content), 0o644); err != nil {
			return "", err
		}
	}
	return r.commit(message)
}

// Revert makes a commit that takes the last one back, and returns its hash.
func (r *Repo) Revert() (string, error) {
	head, err := r.git.Head()
	if err != nil {
		return "", err
	}
	last, err := r.git.CommitObject(head.Hash())
	if err != nil {
		return "", err
	}
	parent, err := last.Parent(0)
	if err != nil {
		return "", fmt.Errorf("nothing to take back: %w", err)
	}
	tree, err := r.git.Worktree()
	if err != nil {
		return "", err
	}
	// The files of the parent, on a branch that still ends at the last commit.
	if err := tree.Reset(&git.ResetOptions{Commit: parent.Hash, Mode: git.HardReset}); err != nil {
		return "", err
	}
	if err := tree.Reset(&git.ResetOptions{Commit: last.Hash, Mode: git.SoftReset}); err != nil {
		return "", err
	}
	return r.commit(fmt.Sprintf("Revert %q", strings.TrimSpace(last.Message)))
}

// Head is the hash of the last commit.
func (r *Repo) Head() (string, error) {
	head, err := r.git.Head()
	if err != nil {
		return "", err
	}
	return head.Hash().String(), nil
}

// commit takes everything in the checkout, removed files too.
func (r *Repo) commit(message string) (string, error) {
	tree, err := r.git.Worktree()
	if err != nil {
		return "", err
	}
	if err := tree.AddWithOptions(&git.AddOptions{All: true}); err != nil {
		return "", err
	}
	who := &object.Signature{Name: "Ada", Email: "ada@example.com", When: time.Now()}
	hash, err := tree.Commit(message, &git.CommitOptions{Author: who, Committer: who})
	if err != nil {
		return "", fmt.Errorf("commit %q: %w", message, err)
	}
	return hash.String(), nil
}
