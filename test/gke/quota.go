package gke

import (
	"fmt"
	"strconv"
	"strings"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/grpc/codes"
)

// Metrics of quotas that are counted.
const (
	MetricClusters  = "CLUSTERS" // of GKE itself; the others are Compute's
	MetricCPUs      = "CPUS"
	MetricAddresses = "IN_USE_ADDRESSES"
	MetricDisks     = "DISKS_TOTAL_GB"
	MetricSSD       = "SSD_TOTAL_GB"
)

// DefaultQuotas are enough for some small clusters in each region, as those of a new project are.
func DefaultQuotas() map[string]float64 {
	return map[string]float64{MetricClusters: 50, MetricCPUs: 72, MetricAddresses: 69, MetricDisks: 10240, MetricSSD: 4096}
}

// checkQuota refuses what has no room, all metrics at once, as GKE does before it begins anything.
func (s *Server) checkQuota(p place, more map[string]float64) error {
	region := regionOf(p.location)
	used := s.used(p.project, region)
	clusters := s.options.Quotas[MetricClusters]
	if more[MetricClusters] > 0 && clusters > 0 && used[MetricClusters]+1 > clusters {
		return failure(codes.PermissionDenied, "", "You cannot create more than %.0f clusters in location %s.", clusters, region)
	}
	var short []string
	for _, metric := range []string{MetricCPUs, MetricAddresses, MetricDisks, MetricSSD} {
		limit, bounded := s.options.Quotas[metric]
		available := limit - used[metric]
		if !bounded || more[metric] <= available {
			continue
		}
		short = append(short, fmt.Sprintf("resource %q: request requires '%.1f' and is short '%.1f'. project has a quota of '%.1f' with '%.1f' available. View and manage quotas at https://console.cloud.google.com/iam-admin/quotas?usage=USED&project=%s.",
			metric, more[metric], more[metric]-available, limit, available, p.project))
	}
	switch len(short) {
	case 0:
		return nil
	case 1:
		return failure(codes.PermissionDenied, "", "Insufficient regional quota to satisfy request: %s", short[0])
	}
	for i := range short {
		short[i] = fmt.Sprintf("(%d) %s", i+1, short[i])
	}
	return failure(codes.PermissionDenied, "", "Insufficient regional quota to satisfy request: %s", strings.Join(short, " "))
}

// used sums up the clusters of a region.
func (s *Server) used(project, region string) map[string]float64 {
	total := map[string]float64{}
	for _, c := range s.state.clustersIn(project, "-") {
		if regionOf(c.pb().GetLocation()) != region {
			continue
		}
		for metric, amount := range needs(c.pb(), c.pb().GetNodePools()) {
			total[metric] += amount
		}
		total[MetricClusters]++
	}
	return total
}

// needs is what pools of a cluster take.
func needs(c *containerpb.Cluster, pools []*containerpb.NodePool) map[string]float64 {
	total := map[string]float64{}
	for _, pool := range pools {
		nodes := float64(int(pool.GetInitialNodeCount()) * len(pool.GetLocations()))
		total[MetricCPUs] += nodes * float64(cpusOf(pool.GetConfig().GetMachineType()))
		if !c.GetNetworkConfig().GetDefaultEnablePrivateNodes() {
			total[MetricAddresses] += nodes
		}
		switch pool.GetConfig().GetDiskType() {
		case "pd-standard":
			total[MetricDisks] += nodes * float64(pool.GetConfig().GetDiskSizeGb())
		case "pd-balanced", "pd-ssd":
			total[MetricSSD] += nodes * float64(pool.GetConfig().GetDiskSizeGb())
		} // Hyperdisks have metrics of their own
	}
	return total
}

// bootDisk is the type of boot disk that nodes get where nothing says one: the newer machines take no persistent disks.
func bootDisk(machine string) string {
	switch family, _, _ := strings.Cut(machine, "-"); family {
	case "n4", "n4a", "n4d", "c4", "c4a", "c4d":
		return "hyperdisk-balanced"
	}
	return "pd-balanced"
}

// cpusOf reads the size of a machine from its type, "e2-standard-4"; 0 is no machine type.
func cpusOf(machine string) int {
	switch machine {
	case "e2-micro", "e2-small", "e2-medium":
		return 2
	case "f1-micro", "g1-small":
		return 1
	}
	parts := strings.Split(machine, "-")
	if len(parts) < 3 {
		return 0
	}
	n, err := strconv.Atoi(parts[2])
	if err != nil {
		return 0
	}
	return n
}
