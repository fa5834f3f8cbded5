package gke

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/container/apiv1/containerpb"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
)

// Name is the provider's name in references.
const Name = "gke"

// Options are what the provider needs.
type Options struct {
	// Settings are those of the document, which was validated.
	Settings config.GKE
	// Override is for another server than Google's.
	Override Override
	// TokenCommand prints an ExecCredential; it is written into kubeconfigs. Default is this program with the
	// argument "token".
	TokenCommand []string
	// Pause is the longest between two looks at something that takes minutes; default 2s.
	Pause time.Duration
	// Registration is how long nodes may take to be Ready when GKE says that they run; default 10 minutes.
	Registration time.Duration
	// Collection is how long after a deletion what Google removes by itself may take; default 10 minutes.
	Collection time.Duration
}

// Provider makes clusters in one location of a project. It is safe for use by several goroutines.
type Provider struct {
	settings     config.GKE
	override     Override
	tokenCommand []string
	pause        time.Duration
	registration time.Duration
	collection   time.Duration
	tokens       *tokens
	going        *going
}

var _ providers.Provider = (*Provider)(nil)

// New makes the provider. It calls nobody.
func New(o Options) (*Provider, error) {
	if err := o.Override.check(); err != nil {
		return nil, err
	}
	if len(o.TokenCommand) == 0 {
		self, err := thisProgram()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		o.TokenCommand = []string{self, "token"}
	}
	or := func(d, standard time.Duration) time.Duration {
		if d == 0 {
			return standard
		}
		return d
	}
	return &Provider{
		settings: o.Settings, override: o.Override, tokenCommand: o.TokenCommand,
		pause: or(o.Pause, 2*time.Second), registration: or(o.Registration, 10*time.Minute), collection: or(o.Collection, 10*time.Minute),
		tokens: &tokens{find: o.Override.credentials}, going: &going{},
	}, nil
}

// place is where a cluster is: the settings' location, or that of the reference.
func (p *Provider) place(r providers.Ref) place {
	if project, location, ok := split(r.Location); ok {
		return place{project, location, r.Name}
	}
	return place{p.settings.Project, p.settings.Location, r.Name}
}

// place names a cluster.
type place struct{ project, location, name string }

// LocationOf is how references to clusters, and GKE, name a location of a project. Without a location it is what
// those of the whole project begin with.
func LocationOf(project, location string) string {
	return "projects/" + project + "/locations/" + location
}

// ProjectOf is the project in such a location, "" of anything else.
func ProjectOf(location string) string {
	project, _, _ := split(location)
	return project
}

func split(location string) (project, place string, ok bool) {
	parts := strings.Split(location, "/")
	if len(parts) != 4 || parts[0] != "projects" || parts[2] != "locations" {
		return "", "", false
	}
	return parts[1], parts[3], true
}

func (p place) parent() string { return LocationOf(p.project, p.location) }

func (p place) path() string { return p.parent() + "/clusters/" + p.name }

func (p place) ref() providers.Ref {
	return providers.Ref{Provider: Name, Name: p.name, Location: p.parent()}
}

// operation is the path of an operation in the same location.
func (p place) operation(id string) string { return p.parent() + "/operations/" + id }

// flags are those of gcloud that say where a cluster is.
func (p place) flags() string { return "--location " + p.location + " --project " + p.project }

// region is the location, or the one that its zone is in.
func (p place) region() string {
	if strings.Count(p.location, "-") == 2 {
		return p.location[:strings.LastIndexByte(p.location, '-')]
	}
	return p.location
}

// Find implements providers.Provider.
func (p *Provider) Find(ctx context.Context, r providers.Ref) (*providers.Cluster, error) {
	if !goodName(r.Name) {
		return nil, providers.ErrNotFound
	}
	api, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer api.close()
	at := p.place(r)
	c, err := lookUp(ctx, api, at)
	if err != nil {
		return nil, err
	}
	if !ours(c) {
		return nil, providers.ErrNotOwned
	}
	return p.describe(at, c)
}

// lookUp gets a cluster, whosever it is; ErrNotFound without one. It tries again for a while when GKE is not
// there to answer.
func lookUp(ctx context.Context, api *api, at place) (*containerpb.Cluster, error) {
	c, err := patiently(ctx, func(ctx context.Context) (*containerpb.Cluster, error) { return api.cluster(ctx, at) })
	if errors.Is(err, providers.ErrNotFound) {
		return nil, err
	}
	return c, told(err, at, "look it up")
}

// describe tells of a cluster of ours.
func (p *Provider) describe(at place, wire *containerpb.Cluster) (*providers.Cluster, error) {
	m := markOf(wire)
	c := &providers.Cluster{
		Ref: at.ref(), Version: "v" + wire.GetCurrentMasterVersion(), Hash: m.hash, Run: m.run, Expires: m.expires,
		Complete: serves(wire),
	}
	if created, err := time.Parse(time.RFC3339, wire.GetCreateTime()); err == nil {
		c.Created = created
	}
	if !answering(wire) {
		return c, nil
	}
	return c, p.access(c, wire)
}

// serves says whether a cluster has come so far that it can be used. Its node pools say nothing about that: some may be made at
// any time, by people and by GKE itself, and while the first ones are the cluster's own status is PROVISIONING.
func serves(c *containerpb.Cluster) bool {
	return answering(c) && c.GetStatus() != containerpb.Cluster_ERROR
}

// answering says whether a cluster has an API server that may answer, and things in it, whatever became of its making: what
// stands for load balancers and disks is to be deleted before the cluster is.
func answering(c *containerpb.Cluster) bool {
	switch c.GetStatus() {
	case containerpb.Cluster_RUNNING, containerpb.Cluster_RECONCILING, containerpb.Cluster_DEGRADED, containerpb.Cluster_ERROR:
		return c.GetEndpoint() != ""
	}
	return false // it is being made or deleted
}

// List implements providers.Provider. It looks in all locations of the project.
func (p *Provider) List(ctx context.Context) ([]*providers.Cluster, error) {
	api, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer api.close()
	wires, err := p.listAll(ctx, api, p.settings.Project)
	if err != nil {
		return nil, err
	}
	var list []*providers.Cluster
	for _, wire := range wires {
		if !ours(wire) {
			continue
		}
		c, err := p.describe(place{p.settings.Project, wire.GetLocation(), wire.GetName()}, wire)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// listAll gives all clusters of a project. That some zones did not answer is an error.
func (p *Provider) listAll(ctx context.Context, api *api, project string) ([]*containerpb.Cluster, error) {
	at := place{project: project, location: "-"}
	reply, err := patiently(ctx, func(ctx context.Context) (*containerpb.ListClustersResponse, error) {
		return api.clusters(ctx, at)
	})
	if err != nil {
		return nil, told(err, at, "list the clusters")
	}
	if gone := reply.GetMissingZones(); len(gone) > 0 {
		return nil, fault.New(fault.Failed, "the list of clusters is incomplete: GKE does not reach %s", strings.Join(gone, ", ")).
			On("project %s", project).WithHint("run the same command again later").Transient()
	}
	return reply.GetClusters(), nil
}

// patience is how long a look is tried again when GKE is not there to answer.
const patience = 90 * time.Second

// patiently tries a call that changes nothing until it is answered.
func patiently[T any](ctx context.Context, call func(context.Context) (T, error)) (reply T, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for try := 1; ; try++ {
		if reply, err = call(ctx); err == nil || !passing(err) {
			return reply, err
		}
		if wait.Sleep(ctx, wait.Backoff(try, 200*time.Millisecond, 10*time.Second)) != nil {
			return reply, err
		}
	}
}
