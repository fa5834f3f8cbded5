package main

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// archive writes a folder, under its name, as a compressed archive. Of the files' own metadata it keeps one thing, whether they
// can be run: owners, times and the mask of modes are those of a machine and not of a release.
func archive(w io.Writer, dir string, at time.Time) error {
	compressed, err := gzip.NewWriterLevel(w, gzip.BestCompression) // its header has neither a name nor a time
	if err != nil {
		return err
	}
	t := tar.NewWriter(compressed)
	dir = filepath.Clean(dir)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { // in the order of the names
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(filepath.Dir(dir), path)
		if err != nil {
			return err
		}
		return add(t, path, filepath.ToSlash(rel), at)
	})
	if err != nil {
		return err
	}
	if err := t.Close(); err != nil {
		return err
	}
	return compressed.Close()
}

// add appends one file or folder.
func add(t *tar.Writer, path, name string, at time.Time) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	h := &tar.Header{Name: name, ModTime: at, Mode: 0o644, Format: tar.FormatUSTAR}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, name+"/", 0o755
		return t.WriteHeader(h)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is neither a file nor a folder", path)
	case info.Mode()&0o111 != 0:
		h.Mode = 0o755
	}
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(t, f)
	return err
}
