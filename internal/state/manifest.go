// Package state keeps what Git cannot hold in a restic repository: sets of snapshots of volumes, and objects.
//
// A set is one restic snapshot for each claim and one that holds the manifest. It is written last: a set without
// one is not whole. Whoever has the repository and its password can read all of it with restic alone.
package state

import (
	"time"
)

// Version is that of the manifests which this build writes and reads.
const Version = 1

// Manifest tells what a set holds.
type Manifest struct {
	Version  int              `json:"version"`
	ID       string           `json:"id"` // UTC time and a random end: 20261123-061501-ab12
	Cluster  string           `json:"cluster"`
	Time     time.Time        `json:"time"`             // when the set was begun, UTC
	Commit   string           `json:"commit,omitempty"` // of the source that the cluster followed
	Complete bool             `json:"complete"`
	Claims   []Claim          `json:"claims"`
	Objects  []map[string]any `json:"objects,omitempty"` // kept objects, without what a server adds
	Faults   []string         `json:"faults,omitempty"`  // why it is not complete
	Pass     bool             `json:"pass,omitempty"`    // a migration took it to carry data, and nobody to keep it
	// Prepared is when all but the data was read, of a set that CronJobs took: claims, objects, commit; else zero.
	Prepared time.Time `json:"prepared,omitzero"`
}

// Claim is one volume of a set, and what it takes to make it again.
type Claim struct {
	Namespace   string            `json:"namespace"`
	Name        string            `json:"name"`
	Class       string            `json:"class,omitempty"`
	VolumeMode  string            `json:"volumeMode,omitempty"`
	AccessModes []string          `json:"accessModes,omitempty"`
	Size        string            `json:"size"` // that it asked for
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Snapshot    string            `json:"snapshot,omitempty"` // restic's id; empty with Skipped
	Files       int64             `json:"files"`              // that the snapshot holds
	Bytes       int64             `json:"bytes"`
	Skipped     string            `json:"skipped,omitempty"` // why it has no data
}

// Access is how a pod reaches the repository. The environment is secret.
type Access struct {
	URL string
	Env map[string]string
}
