package state

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// File is one of a volume, as a snapshot has it.
type File struct {
	Path     string // below the volume: "pgdata/PG_VERSION"
	Modified time.Time
	Size     int64 // bytes
}

// Files tells each regular file of a claim's snapshot, in no particular order. Folders and what else there is are left
// out.
func (r *Repository) Files(ctx context.Context, snapshot string, each func(File)) error {
	var roots []string
	var unreadable error
	_, err := r.once(ctx, call{args: []string{"ls", "--json", "--no-lock", snapshot}, line: func(line []byte) {
		var node struct {
			Paths []string  `json:"paths"` // of the first line, which tells the snapshot
			Type  string    `json:"type"`
			Path  string    `json:"path"`
			Size  int64     `json:"size"`
			MTime time.Time `json:"mtime"`
		}
		switch err := json.Unmarshal(line, &node); {
		case err != nil:
			unreadable = err
		case len(node.Paths) > 0:
			roots = node.Paths
		case node.Type == "file":
			each(File{Path: below(roots, node.Path), Modified: node.MTime, Size: node.Size})
		}
	}})
	if err == nil && unreadable != nil {
		err = fault.Wrap(unreadable, fault.Failed, "read what restic lists of the snapshot %.8s", snapshot)
	}
	return err
}

// below is a path as it is in the folder that was backed up.
func below(roots []string, path string) string {
	i := slices.IndexFunc(roots, func(root string) bool { return strings.HasPrefix(path, root+"/") })
	if i < 0 {
		return strings.TrimPrefix(path, "/")
	}
	return strings.TrimPrefix(path, roots[i]+"/")
}
