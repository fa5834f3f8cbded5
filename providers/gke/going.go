package gke

import (
	"sync"

	"cloud.google.com/go/container/apiv1/containerpb"
)

// departed is a cluster that this process deletes, or has deleted.
type departed struct {
	id     string // GKE's; "" when no cluster was found
	traces traces
	over   bool // it is gone, and so is what it left
}

// going remembers such clusters by their places: a deletion that is begun again finds no cluster that it could ask for its IDs, and
// perhaps one of the same name that somebody made meanwhile.
type going struct {
	mu       sync.Mutex
	clusters map[place]departed
}

// of gives the one of a place, empty without one.
func (g *going) of(at place) departed {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.clusters[at]
}

// begin notes what a cluster is known by that is about to go. What an earlier look at the same one read stays where this one read
// nothing: a cluster that is being deleted does not answer any more.
func (g *going) begin(at place, id string, t traces) departed {
	g.mu.Lock()
	defer g.mu.Unlock()
	if before := g.clusters[at]; before.id == id && t.none() {
		t = before.traces
	}
	if g.clusters == nil {
		g.clusters = map[place]departed{}
	}
	g.clusters[at] = departed{id: id, traces: t}
	return g.clusters[at]
}

// end notes that nothing is left to do for the one of a place.
func (g *going) end(at place) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if d, ok := g.clusters[at]; ok {
		d.over = true
		g.clusters[at] = d
	}
}

// forget is for a place where this process wants a cluster again.
func (g *going) forget(at place) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.clusters, at)
}

// replaced says that a cluster is another one than that of the ID, which had the same name and so is gone.
func replaced(c *containerpb.Cluster, id string) bool {
	return id != "" && c.GetId() != "" && c.GetId() != id
}
