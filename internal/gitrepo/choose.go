package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// selection is what a client gets.
type selection struct {
	tags      []plumbing.Hash // objects of their own
	strays    []plumbing.Hash // files and folders that tags stand for
	commits   []*object.Commit
	known     []*object.Commit // that the client has, next to what it gets
	shallow   []plumbing.Hash  // commits that the client gets without their parents
	unshallow []plumbing.Hash  // commits whose parents the client now gets
	common    plumbing.Hash    // the first commit that both have
}

// choose finds the commits that the client wants and does not have.
func (v *view) choose(ctx context.Context, u *upload) (*selection, error) {
	sel := &selection{}
	var tips []plumbing.Hash
	for _, want := range u.wants {
		if err := v.mayHave(ctx, want); err != nil {
			return nil, err
		}
		tags, end, err := v.peel(want)
		if err != nil {
			return nil, err
		}
		sel.tags = append(sel.tags, tags...)
		stray, err := v.stray(end)
		switch {
		case err != nil:
			return nil, err
		case stray:
			sel.strays = append(sel.strays, end)
		default:
			tips = append(tips, end)
		}
	}
	has, err := v.clientHas(ctx, u, sel)
	if err != nil {
		return nil, err
	}
	deepen := u.depth > 0
	err = v.each(ctx, tips, func(c *object.Commit, depth int) (bool, error) {
		parents := !v.isShallow(c.Hash)
		if deepen && depth >= u.depth && len(c.ParentHashes) > 0 || !parents {
			parents = false
			if deepen && !slices.Contains(u.shallows, c.Hash) {
				sel.shallow = append(sel.shallow, c.Hash)
			}
		} else if deepen && slices.Contains(u.shallows, c.Hash) {
			sel.unshallow = append(sel.unshallow, c.Hash)
		}
		if has[c.Hash] {
			sel.known = append(sel.known, c)
			return parents && deepen, nil // below may be what a shallow client does not have
		}
		sel.commits = append(sel.commits, c)
		return parents, nil
	})
	return sel, err
}

// mayHave refuses what no ref leads to: a repository may hold objects that were taken back.
func (v *view) mayHave(ctx context.Context, want plumbing.Hash) error {
	if want == v.headCommit() {
		return nil
	}
	for _, h := range v.refs {
		if h == want {
			return nil
		}
	}
	tips, err := v.tips()
	if err != nil {
		return err
	}
	errFound := errors.New("found")
	err = v.each(ctx, tips, func(c *object.Commit, _ int) (bool, error) {
		if c.Hash == want {
			return false, errFound
		}
		return !v.isShallow(c.Hash), nil
	})
	if errors.Is(err, errFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("not our ref %s", want)
}

// tips are the commits that refs lead to.
func (v *view) tips() ([]plumbing.Hash, error) {
	tips := []plumbing.Hash{v.headCommit()}
	for _, h := range v.refs {
		_, end, err := v.peel(h)
		if err != nil {
			return nil, err
		}
		stray, err := v.stray(end)
		if err != nil {
			return nil, err
		}
		if !stray {
			tips = append(tips, end)
		}
	}
	return tips, nil
}

// clientHas is the set of commits that the client has, as far as this repository knows them.
func (v *view) clientHas(ctx context.Context, u *upload, sel *selection) (map[plumbing.Hash]bool, error) {
	has := map[plumbing.Hash]bool{}
	var tips []plumbing.Hash
	for _, h := range u.haves {
		_, commit, err := v.peel(h)
		if err != nil {
			return nil, err
		}
		if _, err := object.GetCommit(v.sto, commit); err != nil {
			continue // a commit of the client's own
		}
		if sel.common.IsZero() {
			sel.common = h
		}
		tips = append(tips, commit)
	}
	err := v.each(ctx, tips, func(c *object.Commit, _ int) (bool, error) {
		has[c.Hash] = true
		return !v.isShallow(c.Hash) && !slices.Contains(u.shallows, c.Hash), nil
	})
	return has, err
}

// each visits commits, the nearest to the tips first, each once with its distance (a tip has 1), and
// goes on to the parents of those for which visit says so.
func (v *view) each(ctx context.Context, tips []plumbing.Hash, visit func(c *object.Commit, depth int) (bool, error)) error {
	seen := map[plumbing.Hash]bool{}
	for depth := 1; len(tips) > 0; depth++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		var next []plumbing.Hash
		for _, h := range tips {
			if seen[h] || h.IsZero() {
				continue
			}
			seen[h] = true
			c, err := object.GetCommit(v.sto, h)
			if err != nil {
				return fmt.Errorf("commit %s: %w", h, err)
			}
			more, err := visit(c, depth)
			if err != nil {
				return err
			}
			if more {
				next = append(next, c.ParentHashes...)
			}
		}
		tips = next
	}
	return nil
}

// objects are all that the client needs for its commits and does not have through known ones.
func (v *view) objects(ctx context.Context, sel *selection) ([]plumbing.Hash, error) {
	seen := map[plumbing.Hash]bool{}
	var none []plumbing.Hash
	for _, c := range sel.known {
		if err := v.addTree(c.TreeHash, seen, &none); err != nil {
			return nil, err
		}
	}
	var list []plumbing.Hash
	for _, h := range sel.tags {
		add(h, seen, &list)
	}
	for _, c := range sel.commits {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		list = append(list, c.Hash)
		if err := v.addTree(c.TreeHash, seen, &list); err != nil {
			return nil, err
		}
	}
	for _, h := range sel.strays {
		if err := v.addStray(h, seen, &list); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// add takes in an object without what it leads to.
func add(h plumbing.Hash, seen map[plumbing.Hash]bool, list *[]plumbing.Hash) {
	if !seen[h] {
		seen[h] = true
		*list = append(*list, h)
	}
}

// addStray takes in what a tag stands for that is no commit.
func (v *view) addStray(h plumbing.Hash, seen map[plumbing.Hash]bool, list *[]plumbing.Hash) error {
	obj, err := v.sto.EncodedObject(plumbing.AnyObject, h)
	if err != nil {
		return fmt.Errorf("object %s: %w", h, err)
	}
	if obj.Type() == plumbing.TreeObject {
		return v.addTree(h, seen, list)
	}
	add(h, seen, list)
	return nil
}

func (v *view) addTree(h plumbing.Hash, seen map[plumbing.Hash]bool, list *[]plumbing.Hash) error {
	if seen[h] {
		return nil
	}
	seen[h] = true
	t, err := object.GetTree(v.sto, h)
	if err != nil {
		return fmt.Errorf("tree %s: %w", h, err)
	}
	*list = append(*list, h)
	for _, e := range t.Entries {
		switch {
		case e.Mode == filemode.Dir:
			if err := v.addTree(e.Hash, seen, list); err != nil {
				return err
			}
		case e.Mode == filemode.Submodule:
		default:
			add(e.Hash, seen, list)
		}
	}
	return nil
}
