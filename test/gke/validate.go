//lint:file-ignore SA1019 old clients send and read what is deprecated, and real servers still serve it

package gke

import (
	"regexp"
	"slices"
	"strings"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/grpc/codes"
)

var (
	resourceName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$`)
	labelKey     = regexp.MustCompile(`^[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]{0,62}$`)
	labelValue   = regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}_-]{0,63}$`)
)

func invalid(format string, args ...any) error {
	return failure(codes.InvalidArgument, "", format, args...)
}

// firstOf gives the first error, as the API does.
func firstOf(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// validate looks at a cluster that is to be made.
func (s *Server) validate(p place, c *containerpb.Cluster) error {
	return firstOf(
		func() error {
			if p.location == "-" {
				return invalid("Location must be set to a single zone or region.")
			}
			if !resourceName.MatchString(c.GetName()) {
				return invalid("Invalid value for field \"cluster.name\": %q. Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?)' (only alphanumerics and '-' allowed, must start with a letter and end with an alphanumeric, and must be no longer than 40 characters).", c.GetName())
			}
			return validateLabels(c.GetResourceLabels())
		},
		func() error { return validateShape(p, c) },
		func() error { return s.validateNetwork(p, c) },
		func() error { return validateZones(p, "cluster.locations", c.GetLocations()) },
		func() error {
			if pool := c.GetWorkloadIdentityConfig().GetWorkloadPool(); pool != "" && pool != p.project+".svc.id.goog" {
				return invalid("Workload pool %q is not valid: currently, the only supported identity namespace is the identity namespace of the cluster's own project: %s.svc.id.goog.", pool, p.project)
			}
			return nil
		},
		func() error {
			for i, pool := range c.GetNodePools() {
				if err := validatePool(p, pool); err != nil {
					return err
				}
				if slices.ContainsFunc(c.GetNodePools()[:i], func(o *containerpb.NodePool) bool { return o.GetName() == pool.GetName() }) {
					return invalid("Node pool name %q is not unique.", pool.GetName())
				}
			}
			return nil
		},
	)
}

func validateLabels(labels map[string]string) error {
	if len(labels) > 64 {
		return invalid("Too many labels: %d, at most 64.", len(labels))
	}
	for key, value := range labels {
		if !labelKey.MatchString(key) || !labelValue.MatchString(value) {
			return invalid("Invalid label %q: keys and values can only contain lowercase letters, numeric characters, underscores, and dashes, and at most 63 characters.", key+"="+value)
		}
	}
	return nil
}

// validateShape is about what excludes what.
func validateShape(p place, c *containerpb.Cluster) error {
	auto := c.GetAutopilot().GetEnabled()
	switch {
	case c.GetReleaseChannel() != nil && c.GetReleaseChannel().GetChannel() == containerpb.ReleaseChannel_UNSPECIFIED && auto:
		return invalid("Autopilot clusters must be enrolled in a release channel.")
	case auto && zoneName.MatchString(p.location):
		return invalid("Autopilot clusters must be regional clusters.")
	case auto && (len(c.GetNodePools()) > 0 || c.GetInitialNodeCount() > 0 || c.GetNodeConfig() != nil):
		return invalid("Node pools cannot be configured on Autopilot clusters.")
	case auto && (c.GetLoggingService() != "" || c.GetMonitoringService() != ""):
		return invalid("Logging and monitoring services cannot be configured on Autopilot clusters.")
	case auto:
		return nil
	case len(c.GetNodePools()) > 0 && (c.GetInitialNodeCount() > 0 || c.GetNodeConfig() != nil):
		return invalid("Cluster.initial_node_count and Cluster.node_config must not be set together with Cluster.node_pools.")
	case len(c.GetNodePools()) == 0 && c.GetInitialNodeCount() <= 0:
		return invalid("Cluster.initial_node_count must be greater than zero.")
	}
	return nil
}

func (s *Server) validateNetwork(p place, c *containerpb.Cluster) error {
	network, subnetwork := c.GetNetwork(), c.GetSubnetwork()
	if network != "" && !slices.Contains(s.options.Networks, network) {
		return invalid("Project %q has no network named %q.", p.project, network)
	}
	if subnetwork != "" && !slices.Contains(s.options.Networks, subnetwork) {
		return invalid("Subnetwork %q is not found in region %q.", subnetwork, regionOf(p.location))
	}
	ip := c.GetIpAllocationPolicy()
	if ip.GetUseIpAliases() && c.GetClusterIpv4Cidr() != "" {
		return invalid("Cluster.cluster_ipv4_cidr cannot be set together with ip_allocation_policy.use_ip_aliases.")
	}
	if ip.GetClusterIpv4CidrBlock() != "" && ip.GetClusterSecondaryRangeName() != "" {
		return invalid("ip_allocation_policy: cluster_ipv4_cidr_block and cluster_secondary_range_name are mutually exclusive.")
	}
	old := c.GetPrivateClusterConfig()
	var private *bool
	if n := c.GetNetworkConfig(); n != nil {
		private = n.DefaultEnablePrivateNodes
	}
	if old != nil && private != nil && old.GetEnablePrivateNodes() != *private {
		return invalid("PrivateClusterConfig.enable_private_nodes and NetworkConfig.default_enable_private_nodes must have the same value.")
	}
	return nil
}

func validateZones(p place, field string, zones []string) error {
	for i, zone := range zones {
		if !zoneName.MatchString(zone) || regionOf(zone) != regionOf(p.location) {
			return invalid("Invalid value for field %q: zone %q is not in region %q.", field, zone, regionOf(p.location))
		}
		if slices.Index(zones, zone) != i {
			return invalid("Invalid value for field %q: zone %q is listed twice.", field, zone)
		}
	}
	if zoneName.MatchString(p.location) && len(zones) > 0 && strings.HasPrefix(field, "cluster") && !slices.Contains(zones, p.location) {
		return invalid("Invalid value for field %q: it must contain the cluster's zone %q.", field, p.location)
	}
	return nil
}

func validatePool(p place, pool *containerpb.NodePool) error {
	a, config := pool.GetAutoscaling(), pool.GetConfig()
	perZone := a.GetMinNodeCount() > 0 || a.GetMaxNodeCount() > 0
	total := a.GetTotalMinNodeCount() > 0 || a.GetTotalMaxNodeCount() > 0
	switch {
	case !resourceName.MatchString(pool.GetName()):
		return invalid("Invalid value for field \"node_pool.name\": %q.", pool.GetName())
	case pool.GetInitialNodeCount() < 0:
		return invalid("Node pool %q: initial_node_count must not be negative.", pool.GetName())
	case perZone && total:
		return invalid("Node pool %q: min/max_node_count and total_min/max_node_count are mutually exclusive.", pool.GetName())
	case a.GetEnabled() && a.GetMaxNodeCount() < a.GetMinNodeCount(), a.GetEnabled() && a.GetTotalMaxNodeCount() < a.GetTotalMinNodeCount():
		return invalid("Node pool %q: the maximum of autoscaling must not be less than its minimum.", pool.GetName())
	case a.GetEnabled() && !perZone && !total:
		return invalid("Node pool %q: the maximum of autoscaling must be greater than zero.", pool.GetName())
	case config.GetMachineType() != "" && cpusOf(config.GetMachineType()) == 0:
		return invalid("Machine type with name %q does not exist in zone %q.", config.GetMachineType(), zonesOf(p.location)[0])
	case config.GetDiskSizeGb() != 0 && config.GetDiskSizeGb() < 10:
		return invalid("Node pool %q: disk_size_gb must be at least 10.", pool.GetName())
	case config.GetSpot() && config.GetPreemptible():
		return invalid("Node pool %q: spot and preemptible are mutually exclusive.", pool.GetName())
	}
	for _, taint := range config.GetTaints() {
		if taint.GetEffect() == containerpb.NodeTaint_EFFECT_UNSPECIFIED {
			return invalid("Node pool %q: taint %q has no effect.", pool.GetName(), taint.GetKey())
		}
	}
	return validateZones(p, "node_pool.locations", pool.GetLocations())
}
