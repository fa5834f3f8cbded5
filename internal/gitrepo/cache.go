package gitrepo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/rekindle-dev/rekindle/internal/folders"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

const (
	unusedAfter    = 14 * 24 * time.Hour // a commit that nobody opened for so long leaves the cache
	abandonedAfter = 24 * time.Hour      // a fetch that is older was killed
	fetchPrefix    = "fetch-"
)

// Cache keeps fetched commits on disk: a folder a commit, written once and never changed, so that
// any number of processes may use it at once without a lock.
type Cache struct {
	dir string
}

// NewCache keeps commits below dir, which need not exist.
func NewCache(dir string) *Cache { return &Cache{dir: dir} }

// UserCache keeps commits where the user's programs keep such things.
func UserCache() (*Cache, error) {
	caches, err := folders.Cache()
	if err != nil {
		return nil, err
	}
	return NewCache(filepath.Join(caches, "git")), nil
}

// Open resolves the ref and fetches exactly that commit, without its history where the server allows
// it. A commit that is at hand is not fetched again; one named by its id is then not even asked for.
func (c *Cache) Open(ctx context.Context, r Remote, p plan.Progress) (*Tree, error) {
	if r.Ref.Commit != "" {
		if err := checkCommit(r); err != nil {
			return nil, err
		}
		if tree := c.have(r, plumbing.NewHash(r.Ref.Commit)); tree != nil {
			return tree, nil
		}
	}
	s, err := dial(ctx, r)
	if err != nil {
		return nil, explain(ctx, r, err)
	}
	defer s.Close()
	p.Waiting("the repository's list of refs")
	refs, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		return nil, explain(ctx, r, err)
	}
	commit := plumbing.NewHash(r.Ref.Commit)
	if r.Ref.Commit == "" {
		if commit, err = pick(refs, r); err != nil {
			return nil, err
		}
		if tree := c.have(r, commit); tree != nil {
			tree.Tag = tagOf(refs, r)
			return tree, nil
		}
	}
	tree, err := c.fetch(ctx, r, s, refs, commit, p)
	if err != nil {
		return nil, err
	}
	tree.Tag = tagOf(refs, r)
	return tree, nil
}

// have is the commit if it is in the cache and whole.
func (c *Cache) have(r Remote, commit plumbing.Hash) *Tree {
	dir := c.place(r, commit)
	if _, err := os.Stat(dir); err != nil {
		return nil
	}
	tree, err := newTree(openStorage(dir), commit)
	if err != nil {
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(dir, now, now) // tells prune that it is in use; a read-only cache is no fault
	return tree
}

// fetch takes the commit from a conversation that has listed its refs.
func (c *Cache) fetch(ctx context.Context, r Remote, s session, refs *packp.AdvRefs, commit plumbing.Hash, p plan.Progress) (*Tree, error) {
	final := c.place(r, commit)
	home := filepath.Dir(final)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, fmt.Errorf("repository cache: %w", err)
	}
	c.prune(home)
	dir, err := os.MkdirTemp(home, fetchPrefix)
	if err != nil {
		return nil, fmt.Errorf("repository cache: %w", err)
	}
	defer os.RemoveAll(dir) // after the rename there is nothing left to remove
	sto := openStorage(dir)
	if _, err := git.Init(sto, nil); err != nil {
		return nil, fmt.Errorf("repository cache: %w", err)
	}
	if err := download(ctx, s, refs, commit, sto, p); err != nil {
		return nil, explainFetch(ctx, r, commit, err)
	}
	if _, err := newTree(sto, commit); err != nil {
		return nil, explainFetch(ctx, r, commit, err)
	}
	if err := os.Rename(dir, final); err != nil && c.have(r, commit) == nil {
		// The place may be taken by a broken commit: make room once.
		if err := errors.Join(os.RemoveAll(final), os.Rename(dir, final)); err != nil {
			return nil, fmt.Errorf("repository cache: %w", err)
		}
	}
	return newTree(openStorage(final), commit)
}

func openStorage(dir string) *filesystem.Storage {
	return filesystem.NewStorage(osfs.New(dir), cache.NewObjectLRUDefault())
}

// place is the folder of a commit. Its names hold nothing of the URL, which may hold a secret.
func (c *Cache) place(r Remote, commit plumbing.Hash) string {
	sum := sha256.Sum256([]byte(r.name()))
	return filepath.Join(c.dir, hex.EncodeToString(sum[:8]), commit.String())
}

// prune removes what is long unused. It is a courtesy: what cannot be removed stays.
func (c *Cache) prune(home string) {
	entries, err := os.ReadDir(home)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue
		}
		limit := unusedAfter
		if strings.HasPrefix(e.Name(), fetchPrefix) {
			limit = abandonedAfter
		}
		if time.Since(info.ModTime()) > limit {
			_ = os.RemoveAll(filepath.Join(home, e.Name()))
		}
	}
}
