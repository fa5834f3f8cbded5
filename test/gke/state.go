package gke

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// message is a message of the API in a JSON file.
type message[T proto.Message] struct{ it T }

func (m message[T]) MarshalJSON() ([]byte, error) { return protojson.Marshal(m.it) }

func (m *message[T]) UnmarshalJSON(raw []byte) error {
	m.it = m.it.ProtoReflect().New().Interface().(T)
	return protojson.Unmarshal(raw, m.it)
}

// cluster is one that exists.
type cluster struct {
	Key     string // "projects/P/locations/L/clusters/C"
	Wire    message[*containerpb.Cluster]
	Backend string // name of its control plane
	Port    int    // of its front; 0 before it has one
}

func (c *cluster) pb() *containerpb.Cluster { return c.Wire.it }

// operation is one that was started; done ones are kept, as GKE keeps them for some days.
type operation struct {
	Key     string // "projects/P/locations/L/operations/O"
	Target  string // key of the cluster
	Pool    string // name of the node pool that it is about; may be empty
	Wire    message[*containerpb.Operation]
	Outcome *Outcome `json:",omitempty"`
}

func (o *operation) pb() *containerpb.Operation { return o.Wire.it }

func (o *operation) running() bool { return o.pb().GetStatus() != containerpb.Operation_DONE }

// outcome is never nil.
func (o *operation) outcome() Outcome {
	if o.Outcome == nil {
		return Outcome{}
	}
	return *o.Outcome
}

// state is everything that outlives the process. It is guarded by the server's lock.
type state struct {
	path string

	Port       int // that it listened on, so that it can be had again
	Clusters   map[string]*cluster
	Operations map[string]*operation
	Resources  []*Resource
}

// openState reads the state of an earlier run.
func openState(path string) (*state, error) {
	s := &state{path: path, Clusters: map[string]*cluster{}, Operations: map[string]*operation{}}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func (s *state) save() error {
	raw, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return writeFile(s.path, raw)
}

// current is the operation that runs on a cluster, or nil.
func (s *state) current(target string) *operation {
	for _, o := range s.Operations {
		if o.Target == target && o.running() {
			return o
		}
	}
	return nil
}

// clustersIn gives the clusters of a project's location, "-" being all, in order.
func (s *state) clustersIn(project, location string) []*cluster {
	var list []*cluster
	for key, c := range s.Clusters {
		if inLocation(key, project, location) {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *cluster) int { return strings.Compare(a.Key, b.Key) })
	return list
}

func inLocation(key, project, location string) bool {
	in := "projects/" + project + "/locations/"
	if location == "-" {
		return strings.HasPrefix(key, in)
	}
	return strings.HasPrefix(key, in+location+"/")
}
