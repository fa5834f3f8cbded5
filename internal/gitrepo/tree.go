package gitrepo

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Limits of a repository. They are far above what an ops repository has, and keep a hostile one, whose few objects may stand for
// endless files, from taking the memory of the machine.
const (
	mostFiles   = 1 << 20   // and folders
	longestPath = 4096      // as Linux has it
	largestFile = 100 << 20 // that is read, as GitHub has it
)

// Tree is the repository at one commit. It is read-only and safe for concurrent use.
type Tree struct {
	Commit string // full id
	Tag    string // full id of the tag by which it was found, where that is an object of its own; else empty
	fs     *treeFS
}

// FS shows the files of the commit. Symbolic links and submodules are not among them, as they are not
// in what a reconciler applies.
func (t *Tree) FS() fs.FS { return t.fs }

func newTree(sto storer.EncodedObjectStorer, commit plumbing.Hash) (*Tree, error) {
	c, err := object.GetCommit(sto, commit)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit, err)
	}
	t := &treeFS{sto: sto, when: c.Committer.When, nodes: map[string]*node{}}
	if err := t.add(".", c.TreeHash); err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit, err)
	}
	return &Tree{Commit: commit.String(), fs: t}, nil
}

// treeFS is an fs.FS over git objects. Contents are read when asked for, under a lock, because
// go-git's storage is not safe for concurrent use.
type treeFS struct {
	mu    sync.Mutex
	sto   storer.EncodedObjectStorer
	when  time.Time
	nodes map[string]*node // by path, "." being the root
}

type node struct {
	name     string
	mode     fs.FileMode
	hash     plumbing.Hash
	size     int64
	children []*node // of a folder, by name
}

// add takes in the folder dir, whose content is tree, and all below it. It also sees to it that every
// object is there.
func (t *treeFS) add(dir string, tree plumbing.Hash) error {
	obj, err := object.GetTree(t.sto, tree)
	if err != nil {
		return fmt.Errorf("folder %s: %w", dir, err)
	}
	folder := &node{name: path.Base(dir), mode: fs.ModeDir | 0o755, hash: tree}
	t.nodes[dir] = folder
	for _, e := range obj.Entries {
		// A name may be any bytes to Git, but not here. Nothing else can name such a file, but it may be one of a folder's manifests.
		name := strings.ToValidUTF8(e.Name, "\uFFFD")
		p := path.Join(dir, name)
		if !fs.ValidPath(p) || strings.Contains(name, "/") || p == dir || t.nodes[p] != nil {
			return fmt.Errorf("folder %s has an entry of the name %q", dir, e.Name)
		}
		if len(t.nodes) >= mostFiles || len(p) > longestPath {
			return fault.New(fault.Usage, "has more than %s, or one whose path is longer than %s", plan.Count(mostFiles, "file"), plan.Count(longestPath, "byte"))
		}
		switch e.Mode {
		case filemode.Dir:
			if err := t.add(p, e.Hash); err != nil {
				return err
			}
		case filemode.Regular, filemode.Deprecated, filemode.Executable:
			size, err := t.sto.EncodedObjectSize(e.Hash)
			if err != nil {
				return fmt.Errorf("file %s: %w", p, err)
			}
			perm := fs.FileMode(0o644)
			if e.Mode == filemode.Executable {
				perm = 0o755
			}
			t.nodes[p] = &node{name: name, mode: perm, hash: e.Hash, size: size}
		default: // a link or a submodule
			continue
		}
		folder.children = append(folder.children, t.nodes[p])
	}
	slices.SortFunc(folder.children, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	return nil
}

// Open implements fs.FS.
func (t *treeFS) Open(name string) (fs.File, error) {
	n, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	if n.mode.IsDir() {
		return &openDir{t: t, n: n}, nil
	}
	raw, err := t.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return newOpenFile(t, n, raw), nil
}

// ReadFile implements fs.ReadFileFS.
func (t *treeFS) ReadFile(name string) ([]byte, error) {
	n, err := t.find("read", name)
	if err != nil {
		return nil, err
	}
	if n.mode.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid}
	}
	if n.size > largestFile {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("it has %d bytes, and may have %d", n.size, largestFile)}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	raw, err := readBlob(t.sto, n.hash)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return raw, nil
}

// ReadDir implements fs.ReadDirFS.
func (t *treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := t.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if !n.mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	return t.entries(n), nil
}

// Stat implements fs.StatFS.
func (t *treeFS) Stat(name string) (fs.FileInfo, error) {
	n, err := t.find("stat", name)
	if err != nil {
		return nil, err
	}
	return nodeInfo{n, t.when}, nil
}

func (t *treeFS) find(op, name string) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n := t.nodes[name]
	if n == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

func (t *treeFS) entries(n *node) []fs.DirEntry {
	entries := make([]fs.DirEntry, len(n.children))
	for i, c := range n.children {
		entries[i] = fs.FileInfoToDirEntry(nodeInfo{c, t.when})
	}
	return entries
}
