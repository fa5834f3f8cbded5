package gke

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cloud.google.com/go/container/apiv1/containerpb"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
)

// leftover is something that a cluster left.
type leftover struct {
	providers.Resource
	transient bool // Google removes it by itself
}

// Leftovers implements providers.Provider: the cluster itself while it exists, disks by the label that GKE gives
// them, load balancers and their firewalls by the nodes' tag, which has the cluster's name in it. Lists of which a
// part is missing are an error.
func (p *Provider) Leftovers(ctx context.Context, r providers.Ref) ([]providers.Resource, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !goodName(r.Name) {
		return nil, nil
	}
	a, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer a.close()
	at := p.place(r)
	known := departed{id: p.going.of(at).id}
	var list []providers.Resource
	c, err := lookUp(ctx, a, at)
	switch {
	case errors.Is(err, providers.ErrNotFound):
	case err != nil:
		return nil, err
	case replaced(c, known.id): // somebody made it after this process deleted its own
	case !ours(c):
		return nil, foreign(at)
	default:
		known.id = c.GetId()
		list = append(list, providers.Resource{
			Kind: "cluster", Name: at.name, Remove: "gcloud container clusters delete " + at.name + " " + at.flags(),
		})
	}
	left, err := p.leftovers(ctx, a, at, known)
	for _, one := range left {
		list = append(list, one.Resource)
	}
	return list, err
}

// leftovers looks in Compute Engine, by the ids in the names of what the cluster had, as far as they are known.
func (p *Provider) leftovers(ctx context.Context, a *api, at place, known departed) ([]leftover, error) {
	living, err := p.listAll(ctx, a, at.project)
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "cannot find out whose the leftovers are").On("cluster %s", at.ref()).Transient()
	}
	c, err := p.compute(at)
	if err != nil {
		return nil, err
	}
	defer c.close()
	s := sweep{compute: c, at: at, id: known.id, traces: known.traces, living: living}
	for _, look := range []func(context.Context) error{s.disks, s.firewalls, s.balancers, s.groups} {
		if err := look(ctx); err != nil {
			return nil, err
		}
	}
	return s.found, nil
}

// sweep gathers what is left of one cluster.
type sweep struct {
	*compute
	at     place
	id     string // GKE's; "" when there was no cluster, so that one that lives there now is another
	traces traces
	living []*containerpb.Cluster
	names  []string // of the load balancers that the firewalls found are for
	found  []leftover
}

// add lists a thing with gcloud's command for its kind.
func (s *sweep) add(kind, command string, t thing, transient bool) {
	where := ""
	switch {
	case strings.HasPrefix(t.scope, "zones/"):
		where = " --zone " + strings.TrimPrefix(t.scope, "zones/")
	case strings.HasPrefix(t.scope, "regions/"):
		where = " --region " + strings.TrimPrefix(t.scope, "regions/")
	case command == "forwarding-rules" || command == "addresses":
		where = " --global"
	}
	s.found = append(s.found, leftover{transient: transient, Resource: providers.Resource{
		Kind: kind, Name: t.Name, Remove: fmt.Sprintf("gcloud compute %s delete %s%s --project %s", command, t.Name, where, s.at.project),
	}})
}

// disks carry the name and the location of their cluster, and nothing that tells it from another one there: then all may be that one's,
// which has them in use.
func (s *sweep) disks(ctx context.Context) error {
	if slices.ContainsFunc(s.living, func(c *containerpb.Cluster) bool { return s.there(c) && c.GetId() != s.id }) {
		return nil
	}
	list, err := s.aggregated(ctx, "disks", "labels.goog-k8s-cluster-name="+s.at.name)
	if err != nil {
		return err
	}
	for _, disk := range list {
		// The disks that nodes boot from have the label, too, and go with them.
		volume := strings.Contains(disk.Description, "created-for/pv") || strings.HasPrefix(disk.Name, "pvc-")
		if disk.Labels["goog-k8s-cluster-location"] == s.at.location && volume {
			s.add("disk", "disks", disk, false)
		}
	}
	return nil
}

// firewalls of load balancers are for the nodes' tag, "gke-prod-1a2b3c4d-node", of Autopilot "gk3-…": its end is of the cluster's id.
// Their names tell those of the load balancers, also when the cluster itself cannot be asked any more.
func (s *sweep) firewalls(ctx context.Context) error {
	list, err := s.global(ctx, "firewalls")
	if err != nil {
		return err
	}
	tag := regexp.MustCompile(`^gk[e3]-` + regexp.QuoteMeta(s.at.name) + `-([0-9a-f]{8})-node$`)
	for _, wall := range list {
		mine := slices.ContainsFunc(wall.TargetTags, func(t string) bool {
			m := tag.FindStringSubmatch(t)
			return m != nil && !s.lives(m[1])
		})
		if !mine && !s.traces.wall(wall.Name) {
			continue
		}
		s.add("firewall rule", "firewall-rules", wall, false)
		if name, ok := strings.CutPrefix(wall.Name, "k8s-fw-"); ok {
			s.names = append(s.names, name)
		}
		if m := contentName.FindStringSubmatch(wall.Name); m != nil {
			s.traces.content = append(s.traces.content, m[1])
		}
	}
	return nil
}

// lives says whether another cluster with such an id exists: names are unique in a location only, and at a time.
func (s *sweep) lives(id string) bool {
	return slices.ContainsFunc(s.living, func(c *containerpb.Cluster) bool {
		return strings.HasPrefix(c.GetId(), id) && (!s.there(c) || c.GetId() != s.id)
	})
}

// there says whether a cluster has the name and the location of the one that is swept up after.
func (s *sweep) there(c *containerpb.Cluster) bool {
	return c.GetName() == s.at.name && c.GetLocation() == s.at.location
}

// balancers have the name that is in the firewall's, or one with the cluster's id in it.
func (s *sweep) balancers(ctx context.Context) error {
	if len(s.names) == 0 && s.traces.none() {
		return nil
	}
	for _, kind := range []struct{ api, command, title string }{
		{"forwardingRules", "forwarding-rules", "forwarding rule"},
		{"targetPools", "target-pools", "target pool"},
		{"addresses", "addresses", "address"},
	} {
		list, err := s.aggregated(ctx, kind.api, "")
		if err != nil {
			return err
		}
		for _, one := range list {
			if slices.Contains(s.names, one.Name) || kind.api == "forwardingRules" && s.traces.rule(one.Name) {
				s.add(kind.title, kind.command, one, false)
			}
		}
	}
	return nil
}

// groups are removed by Google some time after their cluster.
func (s *sweep) groups(ctx context.Context) error {
	if s.traces.none() {
		return nil
	}
	list, err := s.aggregated(ctx, "networkEndpointGroups", "")
	if err != nil {
		return err
	}
	for _, group := range list {
		if s.traces.group(group.Name) {
			s.add("network endpoint group", "network-endpoint-groups", group, true)
		}
	}
	return nil
}
