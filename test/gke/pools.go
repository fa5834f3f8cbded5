package gke

import (
	"context"
	"slices"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

func poolNamed(c *containerpb.Cluster, name string) *containerpb.NodePool {
	i := slices.IndexFunc(c.GetNodePools(), func(p *containerpb.NodePool) bool { return p.GetName() == name })
	if i < 0 {
		return nil
	}
	return c.GetNodePools()[i]
}

// find gives the cluster that a request is about.
func (a api) find(req proto.Message) (*containerpb.Cluster, place, error) {
	p, err := placeOf(req)
	if err != nil {
		return nil, p, err
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	c := a.s.state.Clusters[p.cluster()]
	if c == nil {
		return nil, p, p.notFound()
	}
	return proto.CloneOf(c.pb()), p, nil
}

// ListNodePools tells of a cluster's pools.
func (a api) ListNodePools(_ context.Context, req *containerpb.ListNodePoolsRequest) (*containerpb.ListNodePoolsResponse, error) {
	c, _, err := a.find(req)
	if err != nil {
		return nil, err
	}
	return &containerpb.ListNodePoolsResponse{NodePools: c.GetNodePools()}, nil
}

// GetNodePool tells of a pool.
func (a api) GetNodePool(_ context.Context, req *containerpb.GetNodePoolRequest) (*containerpb.NodePool, error) {
	c, p, err := a.find(req)
	if err != nil {
		return nil, err
	}
	pool := poolNamed(c, p.pool)
	if pool == nil {
		return nil, failure(codes.NotFound, "", "Not found: %s/nodePools/%s.", p.cluster(), p.pool)
	}
	return pool, nil
}

// CreateNodePool begins to add a pool.
func (a api) CreateNodePool(ctx context.Context, req *containerpb.CreateNodePoolRequest) (*containerpb.Operation, error) {
	p, err := placeOf(req)
	if err != nil {
		return nil, err
	}
	pool := proto.CloneOf(req.GetNodePool())
	if err := validatePool(p, pool); err != nil {
		return nil, err
	}
	p.pool = pool.GetName()
	return a.s.change(ctx, containerpb.Operation_CREATE_NODE_POOL, p, func(c *containerpb.Cluster) error {
		switch {
		case c.GetAutopilot().GetEnabled():
			return invalid("Node pools cannot be created on Autopilot clusters.")
		case poolNamed(c, p.pool) != nil:
			return failure(codes.AlreadyExists, "", "Already exists: %s/nodePools/%s.", p.cluster(), p.pool)
		}
		completePool(p, c, pool)
		if err := a.s.checkQuota(p, needs(c, []*containerpb.NodePool{pool})); err != nil {
			return err
		}
		c.NodePools = append(c.NodePools, pool)
		stamp(c)
		return nil
	})
}

// DeleteNodePool begins to remove a pool.
func (a api) DeleteNodePool(ctx context.Context, req *containerpb.DeleteNodePoolRequest) (*containerpb.Operation, error) {
	p, err := placeOf(req)
	if err != nil {
		return nil, err
	}
	return a.s.changePool(ctx, containerpb.Operation_DELETE_NODE_POOL, p, func(_ *containerpb.Cluster, pool *containerpb.NodePool) error {
		pool.Status = containerpb.NodePool_STOPPING
		return nil
	})
}

// SetNodePoolSize sets the number of nodes of a pool in each zone.
func (a api) SetNodePoolSize(ctx context.Context, req *containerpb.SetNodePoolSizeRequest) (*containerpb.Operation, error) {
	p, err := placeOf(req)
	if err != nil {
		return nil, err
	}
	if req.GetNodeCount() < 0 {
		return nil, invalid("node_count must not be negative.")
	}
	return a.s.changePool(ctx, containerpb.Operation_SET_NODE_POOL_SIZE, p, func(c *containerpb.Cluster, pool *containerpb.NodePool) error {
		more := proto.CloneOf(pool)
		more.InitialNodeCount = max(req.GetNodeCount()-pool.GetInitialNodeCount(), 0)
		if err := a.s.checkQuota(p, needs(c, []*containerpb.NodePool{more})); err != nil {
			return err
		}
		pool.InitialNodeCount = req.GetNodeCount()
		pool.Status = containerpb.NodePool_RECONCILING
		stamp(c)
		return nil
	})
}

// SetNodePoolAutoscaling sets the bounds of a pool.
func (a api) SetNodePoolAutoscaling(ctx context.Context, req *containerpb.SetNodePoolAutoscalingRequest) (*containerpb.Operation, error) {
	p, err := placeOf(req)
	if err != nil {
		return nil, err
	}
	return a.s.changePool(ctx, containerpb.Operation_UPDATE_CLUSTER, p, func(_ *containerpb.Cluster, pool *containerpb.NodePool) error {
		next := proto.CloneOf(pool)
		next.Autoscaling = proto.CloneOf(req.GetAutoscaling())
		if err := validatePool(p, next); err != nil {
			return err
		}
		pool.Autoscaling, pool.Status = next.Autoscaling, containerpb.NodePool_RECONCILING
		return nil
	})
}

// ListUsableSubnetworks tells the subnetworks of a project in the region of each of its clusters.
func (a api) ListUsableSubnetworks(_ context.Context, req *containerpb.ListUsableSubnetworksRequest) (*containerpb.ListUsableSubnetworksResponse, error) {
	reply := &containerpb.ListUsableSubnetworksResponse{}
	for _, name := range a.s.options.Networks {
		reply.Subnetworks = append(reply.Subnetworks, &containerpb.UsableSubnetwork{
			Network:    req.GetParent() + "/global/networks/" + name,
			Subnetwork: req.GetParent() + "/regions/-/subnetworks/" + name, IpCidrRange: "10.128.0.0/20",
		})
	}
	return reply, nil
}
