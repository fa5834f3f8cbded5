package gitrepo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// memoryObjects are git objects that are on no disk.
type memoryObjects map[plumbing.Hash]plumbing.EncodedObject

func (m memoryObjects) put(kind plumbing.ObjectType, raw []byte) (plumbing.Hash, error) {
	obj := &plumbing.MemoryObject{}
	obj.SetType(kind)
	if _, err := obj.Write(raw); err != nil {
		return plumbing.ZeroHash, err
	}
	m[obj.Hash()] = obj
	return obj.Hash(), nil
}

func (m memoryObjects) encode(o interface {
	Encode(plumbing.EncodedObject) error
}) (plumbing.Hash, error) {
	obj := &plumbing.MemoryObject{}
	if err := o.Encode(obj); err != nil {
		return plumbing.ZeroHash, err
	}
	m[obj.Hash()] = obj
	return obj.Hash(), nil
}

// overlay is a repository's objects with others over them; the repository is never written.
type overlay struct {
	storer.EncodedObjectStorer
	over memoryObjects
}

// EncodedObject finds an object in either.
func (o overlay) EncodedObject(kind plumbing.ObjectType, h plumbing.Hash) (plumbing.EncodedObject, error) {
	obj, ok := o.over[h]
	if !ok {
		return o.EncodedObjectStorer.EncodedObject(kind, h)
	}
	if kind != plumbing.AnyObject && kind != obj.Type() {
		return nil, plumbing.ErrObjectNotFound
	}
	return obj, nil
}

// HasEncodedObject finds an object in either.
func (o overlay) HasEncodedObject(h plumbing.Hash) error {
	if _, ok := o.over[h]; ok {
		return nil
	}
	return o.EncodedObjectStorer.HasEncodedObject(h)
}

// EncodedObjectSize finds an object in either.
func (o overlay) EncodedObjectSize(h plumbing.Hash) (int64, error) {
	if obj, ok := o.over[h]; ok {
		return obj.Size(), nil
	}
	return o.EncodedObjectStorer.EncodedObjectSize(h)
}

// fileSet is the content of a commit by path.
type fileSet map[string]object.TreeEntry

// read takes in a tree of the repository.
func (s fileSet) read(sto storer.EncodedObjectStorer, tree plumbing.Hash, prefix string) error {
	t, err := object.GetTree(sto, tree)
	if err != nil {
		return err
	}
	for _, e := range t.Entries {
		if e.Mode != filemode.Dir {
			s[prefix+e.Name] = e
			continue
		}
		if err := s.read(sto, e.Hash, prefix+e.Name+"/"); err != nil {
			return err
		}
	}
	return nil
}

// update makes the entry of a path what is on disk now.
func (s fileSet) update(dir, name string, into memoryObjects) error {
	file := filepath.Join(dir, filepath.FromSlash(name))
	there, err := inFolders(dir, name)
	if err != nil {
		return err
	}
	info, err := os.Lstat(file)
	if !there || errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() && s[name].Mode != filemode.Submodule {
		delete(s, name) // a file may have become a folder, and a folder a file: what is in it has a name of its own
		return nil
	}
	if err != nil {
		return err
	}
	var (
		raw  []byte
		mode filemode.FileMode
	)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, e := os.Readlink(file)
		raw, mode, err = []byte(target), filemode.Symlink, e
	case info.Mode().IsRegular():
		raw, err = os.ReadFile(file)
		mode = filemode.Regular
		if info.Mode()&0o100 != 0 {
			mode = filemode.Executable
		}
	default:
		return nil // a submodule stays at its commit; sockets and devices are no files of a repository
	}
	if err != nil {
		return err
	}
	h, err := into.put(plumbing.BlobObject, raw)
	s[name] = object.TreeEntry{Mode: mode, Hash: h}
	return err
}

// inFolders says whether all that leads to a name is folders: what is behind a link has another name.
func inFolders(dir, name string) (bool, error) {
	parts := strings.Split(name, "/")
	for _, part := range parts[:len(parts)-1] {
		dir = filepath.Join(dir, part)
		info, err := os.Lstat(dir)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// commit makes the trees and the commit. It depends on the files, the time and the parents alone.
func (s fileSet) commit(into memoryObjects, when time.Time, parents []plumbing.Hash) (plumbing.Hash, error) {
	tree, err := s.tree(into, "")
	if err != nil {
		return plumbing.ZeroHash, err
	}
	who := object.Signature{Name: "rekindle", Email: "rekindle@localhost", When: when}
	return into.encode(&object.Commit{
		Author: who, Committer: who, Message: "Files that are not committed\n", TreeHash: tree, ParentHashes: parents,
	})
}

// tree makes the tree of all paths that begin with prefix.
func (s fileSet) tree(into memoryObjects, prefix string) (plumbing.Hash, error) {
	t := &object.Tree{}
	folders := map[string]bool{}
	for name, e := range s {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		first, _, deeper := strings.Cut(rest, "/")
		switch {
		case !deeper:
			e.Name = first
			t.Entries = append(t.Entries, e)
		case !folders[first]:
			folders[first] = true
			h, err := s.tree(into, prefix+first+"/")
			if err != nil {
				return plumbing.ZeroHash, err
			}
			t.Entries = append(t.Entries, object.TreeEntry{Name: first, Mode: filemode.Dir, Hash: h})
		}
	}
	sort.Sort(object.TreeEntrySorter(t.Entries))
	return into.encode(t)
}
