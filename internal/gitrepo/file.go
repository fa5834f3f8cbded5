package gitrepo

import (
	"bytes"
	"io"
	"io/fs"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// readBlob is the content of a blob.
func readBlob(sto storer.EncodedObjectStorer, h plumbing.Hash) ([]byte, error) {
	obj, err := sto.EncodedObject(plumbing.BlobObject, h)
	if err != nil {
		return nil, err
	}
	r, err := obj.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// nodeInfo is the fs.FileInfo of a node; every file is as old as the commit.
type nodeInfo struct {
	n    *node
	when time.Time
}

func (i nodeInfo) Name() string       { return i.n.name }
func (i nodeInfo) Size() int64        { return i.n.size }
func (i nodeInfo) Mode() fs.FileMode  { return i.n.mode }
func (i nodeInfo) ModTime() time.Time { return i.when }
func (i nodeInfo) IsDir() bool        { return i.n.mode.IsDir() }
func (i nodeInfo) Sys() any           { return nil }

// openFile is a file being read.
type openFile struct {
	*bytes.Reader
	info nodeInfo
}

func newOpenFile(t *treeFS, n *node, raw []byte) *openFile {
	return &openFile{bytes.NewReader(raw), nodeInfo{n, t.when}}
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

// openDir is a folder being read.
type openDir struct {
	t  *treeFS
	n  *node
	at int
}

func (d *openDir) Stat() (fs.FileInfo, error) { return nodeInfo{d.n, d.t.when}, nil }
func (d *openDir) Close() error               { return nil }
func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.n.name, Err: fs.ErrInvalid}
}

// ReadDir implements fs.ReadDirFile.
func (d *openDir) ReadDir(count int) ([]fs.DirEntry, error) {
	rest := d.t.entries(d.n)[d.at:]
	if count > 0 {
		if len(rest) == 0 {
			return nil, io.EOF
		}
		rest = rest[:min(count, len(rest))]
	}
	d.at += len(rest)
	return rest, nil
}
