package gke

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// region is what Compute Engine tells of one.
type region struct {
	Quotas []struct {
		Metric       string
		Limit, Usage float64
	}
}

// look asks Compute Engine for the cluster's region. That the credentials may not is a fault: down could not look for what a
// cluster leaves, neither. Where it does not answer there is nothing to be said yet, and no region.
func (p *Provider) look(ctx context.Context, c *compute) (*region, error) {
	var r region
	err := c.get(ctx, "/regions/"+c.at.region(), &r)
	switch {
	case err == nil:
		return &r, nil
	case codeOf(err) == codes.PermissionDenied:
		return nil, told(err, c.at, "look into Compute Engine")
	}
	return nil, ctx.Err()
}

// mayLook is look for a cluster that needs no room any more.
func (p *Provider) mayLook(ctx context.Context, at place) error {
	c, err := p.compute(at)
	if err != nil {
		return err
	}
	defer c.close()
	_, err = p.look(ctx, c)
	return err
}

// room compares what the node pools need at the start with the quotas of the region. It is a look ahead: GKE checks the same
// before it makes anything.
func (p *Provider) room(ctx context.Context, at place) error {
	c, err := p.compute(at)
	if err != nil {
		return err
	}
	defer c.close()
	region, err := p.look(ctx, c)
	if err != nil || region == nil || p.settings.Autopilot {
		return err
	}
	limits := map[string]float64{}
	for _, q := range region.Quotas {
		limits[q.Metric] = q.Limit
	}
	need, err := p.needs(ctx, c, limits[spotCPUs] > 0)
	if err != nil {
		return ctx.Err()
	}
	var short []string
	for _, q := range region.Quotas {
		if free := q.Limit - q.Usage; need[q.Metric] > free {
			short = append(short, fmt.Sprintf("%s: needs %g, %g more than is free of the limit of %g", q.Metric, need[q.Metric], need[q.Metric]-free, q.Limit))
		}
	}
	if len(short) == 0 {
		return nil
	}
	slices.Sort(short)
	return smallQuota("cluster "+at.ref().String(), at, short)
}

// spotCPUs is what spot nodes are counted on where a project has asked for such a quota. Without one they are counted as all others:
// https://cloud.google.com/compute/docs/instances/create-use-preemptible
const spotCPUs = "PREEMPTIBLE_CPUS"

// needs sums up what the pools take at the start, by the metric that it is counted on. spotQuota says that spot nodes have one of
// their own.
func (p *Provider) needs(ctx context.Context, c *compute, spotQuota bool) (map[string]float64, error) {
	need := map[string]float64{}
	for _, pool := range p.settings.NodePools {
		zone := ""
		switch {
		case len(pool.Locations) > 0:
			zone = pool.Locations[0]
		case len(p.settings.NodeLocations) > 0:
			zone = p.settings.NodeLocations[0]
		case c.at.region() != c.at.location:
			zone = c.at.location
		}
		nodes := float64(p.settings.InitialNodes(pool) * p.settings.Zones(pool))
		cpus, err := c.cpus(ctx, zone, or(pool.MachineType, "e2-medium"))
		if err != nil {
			return nil, err
		}
		need[cpuMetric(or(pool.MachineType, "e2-medium"), pool.Spot && spotQuota)] += nodes * float64(cpus)
		if !p.settings.PrivateNodes {
			need["IN_USE_ADDRESSES"] += nodes
		}
		size := float64(pool.DiskSizeGB)
		if size == 0 {
			size = 100
		}
		switch or(pool.DiskType, bootDisk(pool.MachineType)) {
		case "pd-balanced", "pd-ssd":
			need["SSD_TOTAL_GB"] += nodes * size
		case "pd-standard":
			need["DISKS_TOTAL_GB"] += nodes * size
		}
	}
	return need, nil
}

// cpus asks for the size of a machine type. Without a zone it is asked for in whatever zone has it.
func (c *compute) cpus(ctx context.Context, zone, machine string) (int, error) {
	var one struct{ GuestCpus int }
	for _, z := range zonesToAsk(c.at, zone) {
		if err := c.get(ctx, "/zones/"+z+"/machineTypes/"+machine, &one); err == nil {
			return one.GuestCpus, nil
		}
	}
	return 0, fmt.Errorf("the size of %s is not known", machine)
}

func zonesToAsk(at place, zone string) []string {
	if zone != "" {
		return []string{zone}
	}
	return []string{at.region() + "-b", at.region() + "-c"} // every region has them
}

// bootDisk is the type of boot disk that GKE gives a machine type, where it is a persistent one. Newer machines take Hyperdisks alone,
// whose quotas are others; what is not known here is left to GKE, which checks it too.
func bootDisk(machine string) string {
	switch family, _, _ := strings.Cut(or(machine, "e2-medium"), "-"); family {
	case "e2", "f1", "g1", "n1", "n2", "n2d", "t2a", "t2d", "c2", "c2d", "a2", "g2":
		return "pd-balanced"
	}
	return ""
}

// cpuMetric is what the CPUs of a machine type are counted on.
func cpuMetric(machine string, spot bool) string {
	if spot {
		return spotCPUs
	}
	family, _, _ := strings.Cut(machine, "-")
	switch family {
	case "e2", "n1", "f1", "g1":
		return "CPUS"
	}
	return strings.ToUpper(family) + "_CPUS"
}

// smallQuota is the fault of quotas that are too small.
func smallQuota(object string, at place, short []string) error {
	return fault.New(fault.Failed, "the quota of %s is too small: %s", at.region(), strings.Join(short, "; ")).On("%s", object).
		WithHint("declare fewer or smaller nodes, or ask for more: %s", quotaLink(at))
}

func quotaLink(at place) string {
	return "https://console.cloud.google.com/iam-admin/quotas?project=" + at.project
}

func or(value, standard string) string {
	if value == "" {
		return standard
	}
	return value
}
