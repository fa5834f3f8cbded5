package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/continuity/fs"
)

// store keeps volumes and snapshots in a folder: each is a folder of its own, with its data and what it is.
type store struct {
	dir string
	mu  sync.Mutex // one thing at a time
}

// thing is a volume or a snapshot.
type thing struct {
	Name   string    `json:"name"` // that it was asked for by
	Size   int64     `json:"size"`
	Source string    `json:"source,omitempty"` // of a snapshot its volume, of a volume its snapshot
	Made   time.Time `json:"made"`
}

const (
	ofVolumes   = "volumes"
	ofSnapshots = "snapshots"
)

func openStore(dir string) (*store, error) {
	s := &store{dir: dir}
	return s, errors.Join(os.MkdirAll(filepath.Join(dir, ofVolumes), 0o700), os.MkdirAll(filepath.Join(dir, ofSnapshots), 0o700))
}

// path is the folder of a thing. Its id is its name: the sidecars give each one its own.
func (s *store) path(kind, id string) string { return filepath.Join(s.dir, kind, id) }

// valid says whether an id can be that of a folder.
func valid(id string) bool {
	return id != "" && id != "." && id != ".." && len(id) <= 200 && !strings.ContainsAny(id, "/\x00")
}

// get gives a thing; os.ErrNotExist when there is none.
func (s *store) get(kind, id string) (thing, error) {
	var t thing
	if !valid(id) {
		return t, os.ErrNotExist
	}
	raw, err := os.ReadFile(filepath.Join(s.path(kind, id), "thing.json"))
	if err != nil {
		return t, err
	}
	return t, json.Unmarshal(raw, &t)
}

// add makes a thing whose data is a copy of a folder's, or nothing. What was made halfway is made anew.
func (s *store) add(kind string, t thing, from string) error {
	data := filepath.Join(s.path(kind, t.Name), "data")
	if err := os.RemoveAll(s.path(kind, t.Name)); err != nil {
		return err
	}
	if err := os.MkdirAll(data, 0o777); err != nil {
		return err
	}
	if from != "" {
		if err := fs.CopyDir(data, from); err != nil {
			return err
		}
	} else if err := os.Chmod(data, 0o777); err != nil { // as hostpath drivers have it: any user may write
		return err
	}
	raw, err := json.Marshal(t)
	if err != nil {
		return err
	}
	half := filepath.Join(s.path(kind, t.Name), "half")
	if err := os.WriteFile(half, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(half, filepath.Join(s.path(kind, t.Name), "thing.json"))
}

func (s *store) data(kind, id string) string { return filepath.Join(s.path(kind, id), "data") }

// remove removes a thing; one that is not there is removed.
func (s *store) remove(kind, id string) error {
	if !valid(id) {
		return nil
	}
	return os.RemoveAll(s.path(kind, id))
}
