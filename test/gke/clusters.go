//lint:file-ignore SA1019 old clients send and read what is deprecated, and real servers still serve it

package gke

import (
	"context"
	"maps"
	"time"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// api is the methods. Those that are not here answer with UNIMPLEMENTED, so that a client that needs them is told.
type api struct {
	containerpb.UnimplementedClusterManagerServer
	s *Server
}

// CreateCluster begins to make a cluster.
func (a api) CreateCluster(ctx context.Context, req *containerpb.CreateClusterRequest) (*containerpb.Operation, error) {
	p, err := placeOf(req)
	if err != nil {
		return nil, err
	}
	if req.GetCluster() == nil {
		return nil, invalid("Cluster must be set.")
	}
	c := proto.CloneOf(req.GetCluster())
	p.name = c.GetName()
	if err := a.s.validate(p, c); err != nil {
		return nil, err
	}
	version, channel, err := resolve(c.GetInitialClusterVersion(), c.GetReleaseChannel())
	if err != nil {
		return nil, err
	}
	c.InitialClusterVersion, c.ReleaseChannel = version, channel
	complete(p, c)
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.s.state.Clusters[p.cluster()] != nil {
		return nil, failure(codes.AlreadyExists, "", "Already exists: %s.", p.cluster())
	}
	more := needs(c, c.GetNodePools())
	more[MetricClusters] = 1
	if err := a.s.checkQuota(p, more); err != nil {
		return nil, err
	}
	a.s.state.Clusters[p.cluster()] = &cluster{
		Key: p.cluster(), Wire: message[*containerpb.Cluster]{c}, Backend: "gke-" + c.GetId()[:24],
	}
	return a.s.start(ctx, containerpb.Operation_CREATE_CLUSTER, p)
}

// complete fills in what the server decides.
func complete(p place, c *containerpb.Cluster) {
	c.Id = randomHex(32)
	c.SelfLink = p.link(p.project, "clusters", c.GetName())
	c.Location, c.Zone = p.location, p.location
	c.Status = containerpb.Cluster_PROVISIONING
	c.CreateTime = time.Now().UTC().Format(time.RFC3339)
	c.CurrentMasterVersion, c.CurrentNodeVersion = c.GetInitialClusterVersion(), c.GetInitialClusterVersion()
	if len(c.GetLocations()) == 0 {
		c.Locations = zonesOf(p.location)
	}
	if c.GetNetwork() == "" {
		c.Network = "default"
	}
	if c.GetSubnetwork() == "" {
		c.Subnetwork = c.GetNetwork()
	}
	if c.NetworkConfig == nil {
		c.NetworkConfig = &containerpb.NetworkConfig{}
	}
	c.NetworkConfig.Network = "projects/" + p.project + "/global/networks/" + c.GetNetwork()
	c.NetworkConfig.Subnetwork = "projects/" + p.project + "/regions/" + regionOf(p.location) + "/subnetworks/" + c.GetSubnetwork()
	if c.GetAutopilot().GetEnabled() {
		c.WorkloadIdentityConfig = &containerpb.WorkloadIdentityConfig{WorkloadPool: p.project + ".svc.id.goog"}
		// Autopilot makes nodes as pods need them. Here two stand in each zone from the start.
		c.NodePools = []*containerpb.NodePool{{Name: "default-pool", InitialNodeCount: 2}}
	}
	if c.GetInitialNodeCount() > 0 {
		c.NodePools = []*containerpb.NodePool{{Name: "default-pool", InitialNodeCount: c.GetInitialNodeCount(), Config: c.GetNodeConfig()}}
	}
	for _, pool := range c.GetNodePools() {
		completePool(p, c, pool)
	}
	stamp(c)
}

// completePool fills in what the server decides of a pool.
func completePool(p place, c *containerpb.Cluster, pool *containerpb.NodePool) {
	pool.Status = containerpb.NodePool_PROVISIONING
	pool.Version = c.GetCurrentMasterVersion()
	pool.SelfLink = p.link(p.project, "clusters", c.GetName(), "nodePools", pool.GetName())
	if len(pool.GetLocations()) == 0 {
		pool.Locations = c.GetLocations()
	}
	if pool.Config == nil {
		pool.Config = &containerpb.NodeConfig{}
	}
	for _, field := range []struct {
		at       *string
		standard string
	}{{&pool.Config.MachineType, "e2-medium"}, {&pool.Config.DiskType, bootDisk(pool.Config.GetMachineType())}, {&pool.Config.ImageType, "COS_CONTAINERD"}, {&pool.Config.ServiceAccount, "default"}} {
		if *field.at == "" {
			*field.at = field.standard
		}
	}
	if pool.Config.DiskSizeGb == 0 {
		pool.Config.DiskSizeGb = 100
	}
	pool.InstanceGroupUrls = nil
	for _, zone := range pool.GetLocations() {
		pool.InstanceGroupUrls = append(pool.InstanceGroupUrls,
			"https://www.googleapis.com/compute/v1/projects/"+p.project+"/zones/"+zone+"/instanceGroupManagers/"+groupOf(c, pool)+"-grp")
	}
	pool.Etag = randomHex(8)
}

// groupOf begins the names of a pool's nodes: at most 50 characters, so that a node's name is one of a host.
func groupOf(c *containerpb.Cluster, pool *containerpb.NodePool) string {
	cut := func(name string) string { return name[:min(len(name), 20)] }
	return "gke-" + cut(c.GetName()) + "-" + cut(pool.GetName()) + "-" + c.GetId()[:8]
}

// stamp renews what clients compare before they change something.
func stamp(c *containerpb.Cluster) {
	c.LabelFingerprint = randomHex(4)
	c.Etag = randomHex(8)
	c.CurrentNodeCount = 0
	c.InstanceGroupUrls = nil
	for _, pool := range c.GetNodePools() {
		c.CurrentNodeCount += pool.GetInitialNodeCount() * int32(len(pool.GetLocations()))
		c.InstanceGroupUrls = append(c.InstanceGroupUrls, pool.GetInstanceGroupUrls()...)
	}
}

// GetCluster tells of a cluster.
func (a api) GetCluster(_ context.Context, req *containerpb.GetClusterRequest) (*containerpb.Cluster, error) {
	c, _, err := a.find(req)
	return c, err
}

// ListClusters tells of all clusters of a location, "-" being all.
func (a api) ListClusters(ctx context.Context, req *containerpb.ListClustersRequest) (*containerpb.ListClustersResponse, error) {
	p, err := placeOf(req)
	if err != nil {
		return nil, err
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	reply := &containerpb.ListClustersResponse{MissingZones: missing(ctx)}
	for _, c := range a.s.state.clustersIn(p.project, p.location) {
		if !isMissing(ctx, c.pb().GetLocation()) {
			reply.Clusters = append(reply.Clusters, proto.CloneOf(c.pb()))
		}
	}
	return reply, nil
}

// DeleteCluster begins to remove a cluster.
func (a api) DeleteCluster(ctx context.Context, req *containerpb.DeleteClusterRequest) (*containerpb.Operation, error) {
	p, err := placeOf(req)
	if err != nil {
		return nil, err
	}
	return a.s.change(ctx, containerpb.Operation_DELETE_CLUSTER, p, func(c *containerpb.Cluster) error {
		c.Status = containerpb.Cluster_STOPPING
		for _, pool := range c.GetNodePools() {
			pool.Status = containerpb.NodePool_STOPPING
		}
		return nil
	})
}

// SetLabels replaces the labels; whoever does it shows the fingerprint of those that it knows.
func (a api) SetLabels(ctx context.Context, req *containerpb.SetLabelsRequest) (*containerpb.Operation, error) {
	p, err := placeOf(req)
	if err != nil {
		return nil, err
	}
	if err := validateLabels(req.GetResourceLabels()); err != nil {
		return nil, err
	}
	return a.s.change(ctx, containerpb.Operation_SET_LABELS, p, func(c *containerpb.Cluster) error {
		if req.GetLabelFingerprint() != c.GetLabelFingerprint() {
			return failure(codes.FailedPrecondition, "", "Labels could not be set due to fingerprint mismatch; try again with the proper fingerprint: incorrect fingerprint supplied was %q, the expected one is %q.",
				req.GetLabelFingerprint(), c.GetLabelFingerprint())
		}
		c.ResourceLabels = maps.Clone(req.GetResourceLabels())
		stamp(c)
		return nil
	})
}

// UpdateCluster changes the version or the zones; other updates are not implemented.
func (a api) UpdateCluster(ctx context.Context, req *containerpb.UpdateClusterRequest) (*containerpb.Operation, error) {
	p, err := placeOf(req)
	if err != nil {
		return nil, err
	}
	update := req.GetUpdate()
	known := &containerpb.ClusterUpdate{
		DesiredMasterVersion: update.GetDesiredMasterVersion(), DesiredNodeVersion: update.GetDesiredNodeVersion(), Etag: update.GetEtag(),
	}
	if !proto.Equal(known, update) {
		return nil, failure(codes.Unimplemented, "", "This update is not implemented.")
	}
	kind := containerpb.Operation_UPGRADE_MASTER
	if update.GetDesiredMasterVersion() == "" {
		kind = containerpb.Operation_UPGRADE_NODES
	}
	return a.s.change(ctx, kind, p, func(c *containerpb.Cluster) error {
		if update.GetEtag() != "" && update.GetEtag() != c.GetEtag() {
			return failure(codes.Aborted, "", "The etag does not match.")
		}
		if version := update.GetDesiredMasterVersion(); version != "" {
			resolved, _, err := resolve(version, c.GetReleaseChannel())
			if err != nil {
				return err
			}
			c.CurrentMasterVersion = resolved
		}
		if version := update.GetDesiredNodeVersion(); version != "" {
			for _, pool := range c.GetNodePools() {
				pool.Version = c.GetCurrentMasterVersion()
			}
		}
		c.Status = containerpb.Cluster_RECONCILING
		stamp(c)
		return nil
	})
}

// missing are the zones that a fault has a list not reach.
func missing(ctx context.Context) []string {
	zones, _ := ctx.Value(missingKey{}).([]string)
	return zones
}

// SetCreateTime changes when the clusters of a name were made, as GKE tells it.
func (s *Server) SetCreateTime(name, when string) {
	s.update(func() {
		for _, c := range s.state.Clusters {
			if c.pb().GetName() == name {
				c.pb().CreateTime = when
			}
		}
	})
}

func isMissing(ctx context.Context, location string) bool {
	for _, zone := range missing(ctx) {
		if regionOf(zone) == regionOf(location) {
			return true
		}
	}
	return false
}
