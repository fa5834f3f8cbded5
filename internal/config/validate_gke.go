package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// validateGKE holds the rules of CreateCluster that need no call: GKE would tell them one at a time, and some only
// after minutes.
func validateGKE(c *checker, name string, g *GKE) {
	const at = "spec.provider.gke"
	c.want(name == "" || gkeName.MatchString(name), "metadata.name", "%q: the name of a GKE cluster must begin with a letter", name)
	if g.Autopilot {
		c.want(!isZone(g.Location), at+".location", "%q is a zone: an Autopilot cluster needs a region, like %s", g.Location, regionOf(g.Location))
		c.want(len(g.NodePools) == 0, at+".nodePools", "cannot be combined with autopilot, which creates its own nodes")
		c.want(len(g.NodeLocations) == 0, at+".nodeLocations", "cannot be combined with autopilot, which chooses its zones")
	} else {
		c.want(len(g.NodePools) > 0, at+".nodePools", "is missing: set at least one pool, or autopilot: true")
	}
	validateZones(c, at+".nodeLocations", g.Location, g.NodeLocations)
	if z := g.NodeLocations; isZone(g.Location) && len(z) > 0 {
		c.want(slices.Contains(z, g.Location), at+".nodeLocations", "%s is missing in the list: the zone of a zonal cluster always has nodes", g.Location)
	}
	validateRanges(c, at+".ranges", g.Ranges)
	validateControlPlane(c, at+".controlPlane", g)
	for key := range g.Labels {
		c.want(!strings.HasPrefix(key, "rekindle-"), at+".labels."+key, "labels that begin with rekindle- are reserved")
	}
	c.want(len(g.Labels) <= 60, at+".labels", "%d labels: at most 60 are allowed", len(g.Labels))
	pool := g.WorkloadPool
	c.want(pool == "" || g.Project == "" || pool == g.Project+".svc.id.goog", at+".workloadPool", "%q: must be %s.svc.id.goog, the only pool of this project", pool, g.Project)
	validatePools(c, at+".nodePools", g)
}

// validateZones checks that zones are different ones of the cluster's region.
func validateZones(c *checker, at, location string, zones []string) {
	for i, zone := range zones {
		field := fmt.Sprintf("%s[%d]", at, i)
		c.want(zone == "" || location == "" || regionOf(zone) == regionOf(location), field, "%s is not in %s", zone, regionOf(location))
		c.want(zone == "" || slices.Index(zones, zone) == i, field, "%s is listed twice", zone)
	}
}

func validateRanges(c *checker, at string, r *GKERanges) {
	if r == nil {
		return
	}
	c.want(r.Pods == "" || r.PodsName == "", at+".podsName", "cannot be combined with pods")
	c.want(r.Services == "" || r.ServicesName == "", at+".servicesName", "cannot be combined with services")
	pods := validateRange(c, at+".pods", r.Pods, 9, 21)
	services := validateRange(c, at+".services", r.Services, 16, 27)
	if pods.IsValid() && services.IsValid() {
		c.want(!pods.Overlaps(services), at+".services", "%s overlaps the pods' %s", services, pods)
	}
}

// validateRange checks a CIDR or a size; it gives the zero Prefix for a size. Bounds are GKE's.
func validateRange(c *checker, at, s string, largest, smallest int) netip.Prefix {
	if s == "" {
		return netip.Prefix{}
	}
	address, size, _ := strings.Cut(s, "/")
	bits, err := strconv.Atoi(size)
	c.want(err == nil && bits >= largest && bits <= smallest, at, "%q: must have a size of /%d to /%d", s, largest, smallest)
	if address == "" {
		return netip.Prefix{}
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		c.fail(at, "%q is not a valid range, such as 10.8.0.0/14", s)
		return netip.Prefix{}
	}
	c.want(p == p.Masked(), at, "%s has host bits set: must be %s", s, p.Masked())
	return p.Masked()
}

func validateControlPlane(c *checker, at string, g *GKE) {
	p := g.ControlPlane
	if p == nil {
		return
	}
	private := p.PublicEndpoint != nil && !*p.PublicEndpoint
	c.want(!private || g.PrivateNodes, at+".publicEndpoint", "false requires privateNodes: true")
	for i, n := range p.AuthorizedNetworks {
		field := fmt.Sprintf("%s.authorizedNetworks[%d].cidr", at, i)
		if prefix, err := netip.ParsePrefix(n.CIDR); err != nil {
			c.fail(field, "%q is not a valid network, such as 203.0.113.0/24", n.CIDR)
		} else {
			c.want(prefix == prefix.Masked(), field, "%s has host bits set: must be %s", n.CIDR, prefix.Masked())
		}
	}
	c.want(len(p.AuthorizedNetworks) <= 100, at+".authorizedNetworks", "%d networks: GKE allows 100", len(p.AuthorizedNetworks))
}

func validatePools(c *checker, at string, g *GKE) {
	first := map[string]int{}
	for i, p := range g.NodePools {
		field := fmt.Sprintf("%s[%d]", at, i)
		if before, again := first[p.Name]; again && p.Name != "" {
			c.fail(field+".name", "the pool %s is declared twice, first in nodePools[%d]", p.Name, before)
		} else {
			first[p.Name] = i
		}
		validateZones(c, field+".locations", g.Location, p.Locations)
		validateAutoscaling(c, field, g.Zones(p), p)
		for key, value := range p.Labels {
			c.want(kubeLabelKey().MatchString(key) && kubeLabelText().MatchString(value), field+".labels."+key, "%q is not a valid label of Kubernetes", key+"="+value)
		}
		for n, t := range p.Taints {
			ok := kubeLabelKey().MatchString(t.Key) && kubeLabelText().MatchString(t.Value)
			c.want(ok, fmt.Sprintf("%s.taints[%d]", field, n), "%q is not a valid taint of Kubernetes", t.Key+"="+t.Value)
		}
	}
}

func validateAutoscaling(c *checker, field string, zones int, p GKENodePool) {
	a := p.Autoscaling
	if a == nil {
		return
	}
	at := field + ".autoscaling"
	perZone, total := a.Min != 0 || a.Max != 0, a.TotalMin != 0 || a.TotalMax != 0
	switch {
	case perZone && total:
		c.fail(at, "min and max count in each zone, totalMin and totalMax in all: set only one of the pairs")
	case total:
		c.want(a.TotalMin <= a.TotalMax, at+".totalMin", "%d is more than totalMax, %d", a.TotalMin, a.TotalMax)
		all := p.Nodes * zones
		c.want(p.Nodes == 0 || a.TotalMin > a.TotalMax || (a.TotalMin <= all && all <= a.TotalMax), field+".nodes",
			"%d in each of %d zones is outside of autoscaling, %d to %d in all", p.Nodes, zones, a.TotalMin, a.TotalMax)
	default:
		c.want(a.Max > 0, at+".max", "is missing: set max or totalMax")
		c.want(a.Max == 0 || a.Min <= a.Max, at+".min", "%d is more than max, %d", a.Min, a.Max)
		c.want(a.Max == 0 || p.Nodes == 0 || a.Min > a.Max || (a.Min <= p.Nodes && p.Nodes <= a.Max), field+".nodes", "%d is outside the range of autoscaling, %d to %d", p.Nodes, a.Min, a.Max)
	}
}

// Made when they are needed: they take longer than all other patterns together.
var (
	kubeLabelKey = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$`)
	})
	kubeLabelText = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?$`) })
)

// isZone tells a zone, europe-west6-a, from a region, europe-west6.
func isZone(location string) bool { return strings.Count(location, "-") == 2 }

// regionOf gives the region of a zone, or the region itself.
func regionOf(location string) string {
	if isZone(location) {
		return location[:strings.LastIndex(location, "-")]
	}
	return location
}
