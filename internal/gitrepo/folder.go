package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Folder is a folder of this machine as a repository: the one it holds, or one made of its files.
// Nothing is ever written to it: what has no commit yet gets one in memory.
type Folder struct {
	Warnings []string // what a person should know before relying on it

	dir    string
	git    bool          // it is a checkout or a bare repository
	pinned *view         // one commit, for ever; nil follows what the folder holds
	extra  memoryObjects // of the commit that was made for a folder with changes
}

// OpenFolder takes the folder as it is now, changes that are not committed included, as one commit
// that answers to the ref. The same files make the same commit, on any machine.
func OpenFolder(ctx context.Context, dir string, as config.Ref) (*Folder, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	commit, err := f.snapshot(ctx)
	known, file := (*fault.Error)(nil), (*fs.PathError)(nil)
	switch {
	case errors.As(err, &known), errors.As(err, &file), ctx.Err() != nil:
		return nil, fault.Wrap(err, fault.KindOf(err), "read it as a repository").On("folder %s", dir)
	case err != nil:
		return nil, unreadableRepository(err, dir)
	}
	v := &view{head: plumbing.NewBranchReferenceName("main"), refs: map[plumbing.ReferenceName]plumbing.Hash{}}
	switch {
	case as.Branch != "":
		v.head = plumbing.NewBranchReferenceName(as.Branch)
	case as.Tag != "":
		v.refs[plumbing.NewTagReferenceName(as.Tag)] = commit
	case as.Commit != "" && as.Commit != commit.String():
		return nil, fault.New(fault.Usage, "is at commit %s, but the document follows commit %s", commit, as.Commit).On("folder %s", dir).
			WithHint("check out %s, or follow a branch in spec.source.ref", as.Commit)
	}
	v.refs[v.head] = commit
	f.pinned = v
	return f, nil
}

// FollowFolder takes the folder as a repository whose refs are read anew each time somebody asks:
// commits and branches made meanwhile are seen. A folder that is no repository is one of a single
// commit of its files.
func FollowFolder(ctx context.Context, dir string) (*Folder, error) {
	f, err := openFolder(dir)
	if err != nil || !f.git {
		return f, err
	}
	if _, changed, err := f.changes(ctx); err == nil && changed > 0 {
		f.Warnings = append(f.Warnings, fmt.Sprintf("%s in %s not committed, and so not served", plan.Count(changed, "changed file"), dir))
	}
	return f, nil
}

func openFolder(dir string) (*Folder, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fault.Wrap(errors.Unwrap(err), fault.Usage, "cannot be opened").On("folder %s", dir)
	}
	if !info.IsDir() {
		return nil, fault.New(fault.Usage, "is not a folder").On("folder %s", dir)
	}
	f := &Folder{dir: dir}
	_, err = f.repository()
	switch {
	case err == nil:
		f.git = true
	case !errors.Is(err, git.ErrRepositoryNotExists):
		return nil, unreadableRepository(err, dir)
	}
	return f, nil
}

// unreadableRepository is the fault of a repository of a form that go-git does not read.
func unreadableRepository(err error, dir string) error {
	f := fault.Wrap(err, fault.Failed, "the repository cannot be read").On("folder %s", dir)
	if strings.Contains(strings.ToLower(err.Error()), "objectformat") {
		return f.WithHint("it has SHA-256 objects, which neither Flux nor rekindle reads: give a repository with SHA-1 objects, Git's default")
	}
	return f.WithHint("commit the changes, and give a plain clone: git clone --no-local %s FOLDER (such as a sparse checkout, a split index or reftables are not read)", dir)
}

// repository opens the folder's repository. Each user opens it for itself: go-git's storage is not
// safe for concurrent use.
func (f *Folder) repository() (*git.Repository, error) {
	repo, err := git.PlainOpenWithOptions(f.dir, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if err != nil {
		return nil, err
	}
	storage, ok := repo.Storer.(*filesystem.Storage)
	if !ok {
		return repo, nil
	}
	var files billy.Filesystem
	if w, err := repo.Worktree(); err == nil { // a bare one has none
		files = w.Filesystem
	}
	// A clone by --shared or --reference has objects in another repository, which is anywhere on this machine.
	anywhere := filesystem.Options{AlternatesFS: osfs.New("/")}
	return git.Open(filesystem.NewStorageWithOptions(storage.Filesystem(), cache.NewObjectLRUDefault(), anywhere), files)
}

// Tree is the pinned commit.
func (f *Folder) Tree(ctx context.Context) (*Tree, error) {
	v, err := f.look(ctx)
	if err != nil {
		return nil, err
	}
	return newTree(v.sto, v.refs[v.head])
}

// look is what the folder has to give now.
func (f *Folder) look(ctx context.Context) (*view, error) {
	if !f.git {
		return f.lookAtFiles(ctx)
	}
	repo, err := f.repository()
	if err != nil {
		return nil, err
	}
	shallow, err := repo.Storer.Shallow()
	if err != nil {
		return nil, err
	}
	if f.pinned == nil {
		return viewOf(repo, shallow)
	}
	v := *f.pinned
	v.sto, v.shallow = overlay{repo.Storer, f.extra}, shallow
	return &v, nil
}

func (f *Folder) lookAtFiles(ctx context.Context) (*view, error) {
	if f.pinned != nil {
		v := *f.pinned
		v.sto = overlay{memory.NewStorage(), f.extra}
		return &v, nil
	}
	objects := memoryObjects{}
	commit, err := commitFiles(ctx, f.dir, objects)
	if err != nil {
		return nil, err
	}
	head := plumbing.NewBranchReferenceName("main")
	return &view{head: head, refs: map[plumbing.ReferenceName]plumbing.Hash{head: commit}, sto: overlay{memory.NewStorage(), objects}}, nil
}

// snapshot gives the commit that stands for the folder as it is, making one if it must.
func (f *Folder) snapshot(ctx context.Context) (plumbing.Hash, error) {
	f.extra = memoryObjects{}
	if !f.git {
		return commitFiles(ctx, f.dir, f.extra)
	}
	repo, err := f.repository()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	status, changed, err := f.changes(ctx)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	head, err := repo.Head()
	unborn := errors.Is(err, plumbing.ErrReferenceNotFound)
	switch {
	case err != nil && !unborn:
		return plumbing.ZeroHash, err
	case !unborn && changed == 0:
		return head.Hash(), nil
	}
	files := fileSet{}
	when, parents := time.Unix(0, 0).UTC(), []plumbing.Hash(nil)
	if !unborn {
		c, err := repo.CommitObject(head.Hash())
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if err := files.read(repo.Storer, c.TreeHash, ""); err != nil {
			return plumbing.ZeroHash, err
		}
		when, parents = c.Committer.When, []plumbing.Hash{c.Hash}
	}
	if err := f.take(ctx, files, status); err != nil {
		return plumbing.ZeroHash, err
	}
	commit, err := files.commit(f.extra, when, parents)
	if !unborn {
		f.Warnings = append(f.Warnings, fmt.Sprintf("%s in %s not committed: taken as commit %.12s, which is in no repository",
			plan.Count(changed, "changed file"), f.dir, commit.String()))
	}
	return commit, err
}

// take makes of the files of a commit those that are on disk now.
func (f *Folder) take(ctx context.Context, files fileSet, status git.Status) error {
	names := slices.Sorted(maps.Keys(status))
	for _, name := range names {
		if s := status[name]; s.Worktree != git.Unmodified || s.Staging != git.Unmodified {
			if err := files.update(f.dir, name, f.extra); err != nil {
				return err
			}
		}
	}
	if filtered := gitFilters(ctx, f.dir, names); len(filtered) > 0 {
		f.Warnings = append(f.Warnings, fmt.Sprintf("taken as on disk, and not as a filter of Git (git-crypt, LFS) would commit it: %s", strings.Join(filtered, ", ")))
	}
	return nil
}

// changes are the files that differ from the last commit; a bare repository has none.
func (f *Folder) changes(ctx context.Context) (git.Status, int, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	repo, err := f.repository()
	if err != nil {
		return nil, 0, err
	}
	w, err := repo.Worktree()
	if errors.Is(err, git.ErrIsBareRepository) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	status, err := w.Status() // leaves out what the checkout itself ignores
	if err != nil {
		return nil, 0, err
	}
	is, err := gitIgnores(ctx, f.dir)
	if err != nil {
		return nil, 0, err
	}
	differs, err := gitDiffers(ctx, f.dir)
	if err != nil {
		return nil, 0, err
	}
	maps.DeleteFunc(status, func(name string, s *git.FileStatus) bool {
		if s.Worktree == git.Untracked {
			return is(name)
		}
		return !differs(name)
	})
	changed := 0
	for _, s := range status {
		if s.Worktree != git.Unmodified || s.Staging != git.Unmodified {
			changed++
		}
	}
	return status, changed, nil
}

// commitFiles makes one commit of the files of a folder that is no repository, of all that Git would take.
func commitFiles(ctx context.Context, dir string, into memoryObjects) (plumbing.Hash, error) {
	out, root, err := leftOut(ctx, dir)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	files, left := fileSet{}, 0
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == ".git" && d.IsDir(): // of a repository below, with its configuration and history
			return fs.SkipDir
		case d.IsDir() || d.Name() == ".git":
			return nil
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if out(filepath.ToSlash(rel)) {
			left++
			return nil
		}
		return files.update(dir, filepath.ToSlash(rel), into)
	})
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if len(files) == 0 && left > 0 {
		return plumbing.ZeroHash, fault.New(fault.Usage, "Git ignores all of its files, by the rules of %s and those of this machine", root).
			WithHint("make it a repository of its own with git init, or see what git check-ignore -v says of its files")
	}
	return files.commit(into, time.Unix(0, 0).UTC(), nil)
}

// view is what a repository has to give at one moment.
type view struct {
	head    plumbing.ReferenceName // the branch that HEAD points to; empty when detached
	tip     plumbing.Hash          // of a detached HEAD
	refs    map[plumbing.ReferenceName]plumbing.Hash
	shallow []plumbing.Hash // commits whose parents are not there
	sto     storer.EncodedObjectStorer
}

func viewOf(repo *git.Repository, shallow []plumbing.Hash) (*view, error) {
	v := &view{refs: map[plumbing.ReferenceName]plumbing.Hash{}, shallow: shallow, sto: repo.Storer}
	iter, err := repo.References()
	if err != nil {
		return nil, err
	}
	err = iter.ForEach(func(r *plumbing.Reference) error {
		switch {
		case r.Name() == plumbing.HEAD && r.Type() == plumbing.SymbolicReference:
			v.head = r.Target()
		case r.Name() == plumbing.HEAD:
			v.tip = r.Hash()
		case r.Type() == plumbing.HashReference && (r.Name().IsBranch() || r.Name().IsTag()):
			v.refs[r.Name()] = r.Hash()
		}
		return nil
	})
	return v, err
}

// headCommit is where HEAD points; zero for a repository without a commit.
func (v *view) headCommit() plumbing.Hash {
	if v.head != "" {
		return v.refs[v.head]
	}
	return v.tip
}

func (v *view) isShallow(h plumbing.Hash) bool { return slices.Contains(v.shallow, h) }

// peel follows a tag to the object that it stands for, mostly a commit, and gives the tags on the way there.
func (v *view) peel(h plumbing.Hash) (tags []plumbing.Hash, end plumbing.Hash, err error) {
	for {
		tag, err := object.GetTag(v.sto, h)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return tags, h, nil
		}
		if err != nil {
			return nil, h, err
		}
		tags, h = append(tags, h), tag.Target
	}
}

// stray says whether an object that a ref leads to is no commit: a tag may stand for a file or a folder.
func (v *view) stray(h plumbing.Hash) (bool, error) {
	if h.IsZero() {
		return false, nil // of a branch without a commit
	}
	obj, err := v.sto.EncodedObject(plumbing.AnyObject, h)
	if err != nil {
		return false, fmt.Errorf("object %s: %w", h, err)
	}
	return obj.Type() != plumbing.CommitObject, nil
}
