//lint:file-ignore SA1019 old clients send and read what is deprecated, and real servers still serve it

package gke

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"cloud.google.com/go/container/apiv1/containerpb"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"

	"github.com/rekindle-dev/rekindle/internal/wait"
)

// run does an operation to its end, or until the emulator is closed. All of it can be done again.
func (s *Server) run(key string) {
	o := s.operation(key)
	if wait.Sleep(s.life, s.options.Pace.Pending) != nil {
		return
	}
	s.update(func() {
		if o := s.state.Operations[key]; o.running() { // else it was cancelled
			o.pb().Status = containerpb.Operation_RUNNING
		}
	})
	if o.outcome().Stuck {
		return
	}
	var err error
	switch o.pb().GetOperationType() {
	case containerpb.Operation_CREATE_CLUSTER:
		err = s.create(o)
	case containerpb.Operation_DELETE_CLUSTER:
		err = s.remove(o)
	default:
		err = s.reconcile(o)
	}
	if err != nil && s.life.Err() == nil {
		s.log.Printf("%s of %s: %v", o.pb().GetOperationType(), o.Target, err)
		s.settle(o, &rpcstatus.Status{Code: int32(codes.Internal), Message: err.Error()})
	}
}

// operation gives a copy of one.
func (s *Server) operation(key string) *operation {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := *s.state.Operations[key]
	o.Wire.it = proto.CloneOf(o.pb())
	return &o
}

// cluster gives a copy of one; nil when it is gone.
func (s *Server) cluster(key string) *cluster {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.state.Clusters[key]
	if c == nil {
		return nil
	}
	out := *c
	out.Wire.it = proto.CloneOf(c.pb())
	return &out
}

// update changes the state and keeps it.
func (s *Server) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	if err := s.state.save(); err != nil {
		s.log.Printf("save: %v", err)
	}
}

// create makes the control plane and the nodes of a cluster.
func (s *Server) create(o *operation) error {
	began := time.Now()
	if o.outcome().Error == nil {
		if err := s.attach(s.life, o.Target); err != nil {
			return err
		}
		if err := s.populate(o); err != nil {
			return err
		}
	}
	if err := s.last(began, max(s.options.Pace.Create, o.outcome().Lasts.Duration)); err != nil {
		return err
	}
	s.settle(o, nil)
	if !o.outcome().Collected {
		return nil
	}
	if err := wait.Sleep(s.life, s.options.Pace.Collect); err != nil {
		return err
	}
	return s.forget(o.Target)
}

// last waits until as much time as is wanted has passed since began.
func (s *Server) last(began time.Time, pace time.Duration) error {
	return wait.Sleep(s.life, pace-time.Since(began))
}

// attach has a cluster's control plane run and its front answer.
func (s *Server) attach(ctx context.Context, key string) error {
	c := s.cluster(key)
	config, err := s.backend.ensure(ctx, c.Backend, nodesOf(c.pb()))
	if err != nil {
		return err
	}
	own, err := openCA(s.folder(c), c.pb().GetName())
	if err != nil {
		return err
	}
	version := c.pb().GetCurrentMasterVersion()
	f, err := openFront(c.Port, config, own, s.ca, s.tokens, s.script, version)
	if err != nil && c.Port != 0 { // somebody else has the port now
		f, err = openFront(0, config, own, s.ca, s.tokens, s.script, version)
	}
	if err != nil {
		return err
	}
	s.update(func() {
		s.fronts[key] = f
		kept := s.state.Clusters[key]
		kept.Port = f.port
		describe(kept.pb(), f, own)
	})
	return nil
}

func (s *Server) folder(c *cluster) string {
	return filepath.Join(s.options.Dir, "clusters", c.Backend)
}

// describe tells how to reach a cluster.
func describe(c *containerpb.Cluster, f *front, own *ca) {
	c.Endpoint = f.address()
	c.MasterAuth = &containerpb.MasterAuth{ClusterCaCertificate: base64Of(own.pem)}
	if c.ControlPlaneEndpointsConfig == nil {
		c.ControlPlaneEndpointsConfig = &containerpb.ControlPlaneEndpointsConfig{}
	}
	e := c.ControlPlaneEndpointsConfig
	if e.DnsEndpointConfig == nil {
		e.DnsEndpointConfig = &containerpb.ControlPlaneEndpointsConfig_DNSEndpointConfig{}
	}
	e.DnsEndpointConfig.Endpoint = fmt.Sprintf("localhost:%d", f.port)
	if e.IpEndpointsConfig == nil {
		e.IpEndpointsConfig = &containerpb.ControlPlaneEndpointsConfig_IPEndpointsConfig{}
	}
	e.IpEndpointsConfig.PublicEndpoint, e.IpEndpointsConfig.PrivateEndpoint = f.address(), f.address()
}

// populate brings the nodes, with progress.
func (s *Server) populate(o *operation) error {
	c := s.cluster(o.Target)
	want := nodesOf(c.pb())
	total := len(want)
	want = want[:max(total-o.outcome().Lost, 0)]
	s.progress(o.Key, 0, total)
	if err := s.backend.nodes(s.life, c.Backend, want); err != nil {
		return err
	}
	s.progress(o.Key, len(want), total)
	return nil
}

func (s *Server) progress(key string, done, total int) {
	count := func(name string, n int) *containerpb.OperationProgress_Metric {
		return &containerpb.OperationProgress_Metric{Name: name, Value: &containerpb.OperationProgress_Metric_IntValue{IntValue: int64(n)}}
	}
	s.update(func() {
		s.state.Operations[key].pb().Progress = &containerpb.OperationProgress{
			Status:  containerpb.Operation_RUNNING,
			Metrics: []*containerpb.OperationProgress_Metric{count("CLUSTER_CONFIGURING", 1), count("CLUSTER_CONFIGURING_TOTAL", 1)},
			Stages: []*containerpb.OperationProgress{{
				Name: "CREATING_NODES", Status: containerpb.Operation_RUNNING,
				Metrics: []*containerpb.OperationProgress_Metric{count("nodes done", done), count("nodes total", total)},
			}},
		}
	})
}

// nodesOf gives the nodes of all pools that stay.
func nodesOf(c *containerpb.Cluster) (list []*corev1.Node) {
	effects := map[containerpb.NodeTaint_Effect]corev1.TaintEffect{
		containerpb.NodeTaint_NO_SCHEDULE:        corev1.TaintEffectNoSchedule,
		containerpb.NodeTaint_PREFER_NO_SCHEDULE: corev1.TaintEffectPreferNoSchedule,
		containerpb.NodeTaint_NO_EXECUTE:         corev1.TaintEffectNoExecute,
	}
	for _, pool := range c.GetNodePools() {
		if pool.GetStatus() == containerpb.NodePool_STOPPING {
			continue
		}
		var taints []corev1.Taint
		for _, t := range pool.GetConfig().GetTaints() {
			taints = append(taints, corev1.Taint{Key: t.GetKey(), Value: t.GetValue(), Effect: effects[t.GetEffect()]})
		}
		for _, zone := range pool.GetLocations() {
			for i := range pool.GetInitialNodeCount() {
				name := fmt.Sprintf("%s-%s%03d", groupOf(c, pool), zone[len(zone)-1:], i)
				list = append(list, node(name, pool.GetName(), zone, regionOf(zone), pool.GetConfig().GetMachineType(),
					pool.GetVersion(), pool.GetConfig().GetLabels(), taints))
			}
		}
	}
	return list
}

// reconcile is every operation on a cluster that exists.
func (s *Server) reconcile(o *operation) error {
	began := time.Now()
	if o.outcome().Error == nil {
		if err := s.populate(o); err != nil {
			return err
		}
	}
	if err := s.last(began, s.options.Pace.Change); err != nil {
		return err
	}
	if o.pb().GetOperationType() == containerpb.Operation_DELETE_NODE_POOL && o.outcome().Error == nil {
		s.update(func() {
			c := s.state.Clusters[o.Target].pb()
			var stay []*containerpb.NodePool
			for _, pool := range c.GetNodePools() {
				if pool.GetName() != o.Pool {
					stay = append(stay, pool)
				}
			}
			c.NodePools = stay
			stamp(c)
		})
	}
	s.settle(o, nil)
	return nil
}

// remove takes a cluster away. What it leaves behind stays listed.
func (s *Server) remove(o *operation) error {
	began := time.Now()
	c := s.cluster(o.Target)
	if c == nil { // an earlier run got so far
		s.settle(o, nil)
		return nil
	}
	if o.outcome().Error != nil {
		s.settle(o, nil)
		return nil
	}
	if c.Port != 0 {
		left, err := s.remains(c)
		if err != nil {
			return err
		}
		s.update(func() { s.leave(left) })
	}
	if err := s.last(began, s.options.Pace.Delete); err != nil {
		return err
	}
	if err := s.forget(o.Target); err != nil {
		return err
	}
	s.settle(o, nil)
	return nil
}

// forget ends a cluster's control plane and removes its record.
func (s *Server) forget(key string) error {
	c := s.cluster(key)
	if c == nil {
		return nil
	}
	s.mu.Lock()
	f := s.fronts[key]
	delete(s.fronts, key)
	s.mu.Unlock()
	if f != nil {
		if err := f.close(); err != nil {
			return err
		}
	}
	if err := s.backend.delete(s.life, c.Backend); err != nil {
		return err
	}
	s.update(func() { delete(s.state.Clusters, key) })
	return os.RemoveAll(s.folder(c))
}

// settle ends an operation and gives the cluster the status that it is to have then.
func (s *Server) settle(o *operation, failed *rpcstatus.Status) {
	outcome := o.outcome()
	if outcome.Error != nil {
		failed = &rpcstatus.Status{Code: int32(outcome.Error.Code), Message: outcome.Error.Message}
	}
	s.update(func() {
		kept := s.state.Operations[o.Key]
		s.finish(kept, failed)
		var conditions []*containerpb.StatusCondition
		if outcome.Condition != "" {
			conditions = []*containerpb.StatusCondition{{
				Code:    containerpb.StatusCondition_Code(containerpb.StatusCondition_Code_value[outcome.Condition]),
				Message: failed.GetMessage(),
			}}
			kept.pb().ClusterConditions = conditions
		}
		c := s.state.Clusters[o.Target]
		if c == nil {
			return
		}
		repose(c.pb(), outcome, failed != nil, o.pb().GetOperationType())
		c.pb().Conditions = conditions
		if outcome.Then != "" {
			s.follow(o, containerpb.Operation_Type(containerpb.Operation_Type_value[outcome.Then]))
		}
	})
}

// repose sets the statuses that a cluster and its pools have when nothing goes on.
func repose(c *containerpb.Cluster, outcome Outcome, failed bool, kind containerpb.Operation_Type) {
	c.Status = containerpb.Cluster_RUNNING
	pool := containerpb.NodePool_RUNNING
	if failed && kind == containerpb.Operation_CREATE_CLUSTER {
		c.Status, pool = containerpb.Cluster_ERROR, containerpb.NodePool_ERROR
	}
	if outcome.Cluster != "" {
		c.Status = containerpb.Cluster_Status(containerpb.Cluster_Status_value[outcome.Cluster])
	}
	for _, p := range c.GetNodePools() {
		p.Status = pool
	}
	if n := len(c.GetNodePools()); outcome.Pool != "" && n > 0 {
		c.GetNodePools()[n-1].Status = containerpb.NodePool_Status(containerpb.NodePool_Status_value[outcome.Pool])
	}
}

// follow begins an operation of the server's own. The caller holds the lock.
func (s *Server) follow(o *operation, kind containerpb.Operation_Type) {
	m := namePath.FindStringSubmatch(o.Target)
	c := s.state.Clusters[o.Target].pb()
	c.Status = containerpb.Cluster_RECONCILING
	if _, err := s.begin(kind, place{project: m[1], location: m[2], name: m[3]}, nil); err != nil {
		s.log.Printf("%s: %v", o.Target, err)
	}
}
