package gke

import (
	"strings"

	"cloud.google.com/go/container/apiv1/containerpb"

	"github.com/rekindle-dev/rekindle/internal/config"
)

// request says to GKE what the settings say, with all node pools at once: each that came later would take an
// operation of its own, one after the other.
func request(g config.GKE, at place, version string, labels map[string]string) *containerpb.CreateClusterRequest {
	c := &containerpb.Cluster{
		Name: at.name, Network: g.Network, Subnetwork: g.Subnetwork, InitialClusterVersion: version, ResourceLabels: labels,
		Locations:                   g.NodeLocations,
		IpAllocationPolicy:          addresses(g.Ranges),
		ControlPlaneEndpointsConfig: endpoints(g.ControlPlane),
	}
	if channel := channelOf(g.Channel); channel != noChannel {
		c.ReleaseChannel = &containerpb.ReleaseChannel{Channel: channel}
	}
	if g.PrivateNodes {
		c.NetworkConfig = &containerpb.NetworkConfig{DefaultEnablePrivateNodes: new(true)}
	}
	if g.Autopilot {
		c.Autopilot = &containerpb.Autopilot{Enabled: true}
		return &containerpb.CreateClusterRequest{Parent: at.parent(), Cluster: c}
	}
	pool := g.WorkloadPool
	if pool == "" {
		pool = g.Project + ".svc.id.goog"
	}
	c.WorkloadIdentityConfig = &containerpb.WorkloadIdentityConfig{WorkloadPool: pool}
	for _, one := range g.NodePools {
		c.NodePools = append(c.NodePools, nodePool(g, one))
	}
	return &containerpb.CreateClusterRequest{Parent: at.parent(), Cluster: c}
}

// noChannel is never sent: it would mean that there is to be none.
const noChannel containerpb.ReleaseChannel_Channel = 0

func channelOf(name string) containerpb.ReleaseChannel_Channel {
	return containerpb.ReleaseChannel_Channel(containerpb.ReleaseChannel_Channel_value[strings.ToUpper(name)])
}

func addresses(r *config.GKERanges) *containerpb.IPAllocationPolicy {
	policy := &containerpb.IPAllocationPolicy{UseIpAliases: true}
	if r != nil {
		policy.ClusterIpv4CidrBlock, policy.ServicesIpv4CidrBlock = r.Pods, r.Services
		policy.ClusterSecondaryRangeName, policy.ServicesSecondaryRangeName = r.PodsName, r.ServicesName
	}
	return policy
}

func endpoints(c *config.GKEControlPlane) *containerpb.ControlPlaneEndpointsConfig {
	if c == nil {
		return nil
	}
	ip := &containerpb.ControlPlaneEndpointsConfig_IPEndpointsConfig{
		Enabled: new(true), EnablePublicEndpoint: c.PublicEndpoint, GlobalAccess: new(c.GlobalAccess),
	}
	if len(c.AuthorizedNetworks) > 0 {
		networks := &containerpb.MasterAuthorizedNetworksConfig{Enabled: true}
		for _, n := range c.AuthorizedNetworks {
			networks.CidrBlocks = append(networks.CidrBlocks,
				&containerpb.MasterAuthorizedNetworksConfig_CidrBlock{DisplayName: n.Name, CidrBlock: n.CIDR})
		}
		ip.AuthorizedNetworksConfig = networks
	}
	return &containerpb.ControlPlaneEndpointsConfig{
		IpEndpointsConfig: ip,
		DnsEndpointConfig: &containerpb.ControlPlaneEndpointsConfig_DNSEndpointConfig{AllowExternalTraffic: new(c.DNSEndpoint)},
	}
}

// usesDNS says whether the API server is reached by its DNS name: where that is open to the outside.
func usesDNS(c *containerpb.Cluster) bool {
	dns := c.GetControlPlaneEndpointsConfig().GetDnsEndpointConfig()
	return dns.GetAllowExternalTraffic() && dns.GetEndpoint() != ""
}

func nodePool(g config.GKE, p config.GKENodePool) *containerpb.NodePool {
	node := &containerpb.NodeConfig{
		MachineType: p.MachineType, DiskSizeGb: int32(p.DiskSizeGB), DiskType: p.DiskType, Spot: p.Spot,
		ServiceAccount: p.ServiceAccount, Labels: p.Labels,
		// What a node may do is decided by the roles of its service account, as Google advises.
		OauthScopes: []string{scope},
		// Without this, pods would act as the node.
		WorkloadMetadataConfig: &containerpb.WorkloadMetadataConfig{Mode: containerpb.WorkloadMetadataConfig_GKE_METADATA},
	}
	effects := map[string]containerpb.NodeTaint_Effect{
		"NoSchedule": containerpb.NodeTaint_NO_SCHEDULE, "PreferNoSchedule": containerpb.NodeTaint_PREFER_NO_SCHEDULE, "NoExecute": containerpb.NodeTaint_NO_EXECUTE,
	}
	for _, t := range p.Taints {
		node.Taints = append(node.Taints, &containerpb.NodeTaint{Key: t.Key, Value: t.Value, Effect: effects[t.Effect]})
	}
	pool := &containerpb.NodePool{
		Name: p.Name, InitialNodeCount: int32(g.InitialNodes(p)), Locations: p.Locations, Config: node,
		Management: &containerpb.NodeManagement{AutoUpgrade: true, AutoRepair: true},
	}
	if a := p.Autoscaling; a != nil {
		pool.Autoscaling = &containerpb.NodePoolAutoscaling{
			Enabled: true, MinNodeCount: int32(a.Min), MaxNodeCount: int32(a.Max),
			TotalMinNodeCount: int32(a.TotalMin), TotalMaxNodeCount: int32(a.TotalMax),
			LocationPolicy: containerpb.NodePoolAutoscaling_LocationPolicy(containerpb.NodePoolAutoscaling_LocationPolicy_value[strings.ToUpper(a.Policy)]),
		}
	}
	return pool
}
