//lint:file-ignore SA1019 old clients send and read what is deprecated, and real servers still serve it

package gke

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// start begins an operation. The caller holds the lock.
func (s *Server) start(ctx context.Context, kind containerpb.Operation_Type, p place) (*containerpb.Operation, error) {
	return s.begin(kind, p, outcomeOf(ctx))
}

// outcomeOf is what a fault decided about the operation that a call starts.
func outcomeOf(ctx context.Context) *Outcome {
	outcome, _ := ctx.Value(outcomeKey{}).(*Outcome)
	return outcome
}

func (s *Server) begin(kind containerpb.Operation_Type, p place, outcome *Outcome) (*containerpb.Operation, error) {
	now := time.Now().UTC()
	raw := randomHex(16)
	id := fmt.Sprintf("operation-%d-%s-%s-%s-%s-%s", now.UnixMilli(), raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:])
	target := []string{"clusters", p.name}
	if p.pool != "" {
		target = append(target, "nodePools", p.pool)
	}
	o := &operation{
		Key: p.parent() + "/operations/" + id, Target: p.cluster(), Pool: p.pool, Outcome: outcome,
		Wire: message[*containerpb.Operation]{&containerpb.Operation{
			Name: id, Location: p.location, Zone: p.location,
			OperationType: kind, Status: containerpb.Operation_PENDING, StartTime: now.Format(time.RFC3339Nano),
			// These have the project's number, not its id.
			SelfLink: p.link(p.number(), "operations", id), TargetLink: p.link(p.number(), target...),
		}},
	}
	s.state.Operations[o.Key] = o
	if err := s.state.save(); err != nil {
		delete(s.state.Operations, o.Key)
		return nil, status.Error(codes.Internal, err.Error())
	}
	s.work.Go(func() { s.run(o.Key) })
	return proto.CloneOf(o.pb()), nil
}

// change applies a change to a cluster on which nothing else goes on, and begins the operation that finishes it.
func (s *Server) change(ctx context.Context, kind containerpb.Operation_Type, p place, apply func(*containerpb.Cluster) error) (*containerpb.Operation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.state.Clusters[p.cluster()]
	if c == nil {
		return nil, p.notFound()
	}
	if o := s.state.current(p.cluster()); o != nil {
		return nil, busy(o)
	}
	next := proto.CloneOf(c.pb())
	if err := apply(next); err != nil {
		return nil, err
	}
	c.Wire.it = next
	return s.start(ctx, kind, p)
}

// changePool is change for one pool.
func (s *Server) changePool(ctx context.Context, kind containerpb.Operation_Type, p place, apply func(*containerpb.Cluster, *containerpb.NodePool) error) (*containerpb.Operation, error) {
	return s.change(ctx, kind, p, func(c *containerpb.Cluster) error {
		pool := poolNamed(c, p.pool)
		if pool == nil {
			return failure(codes.NotFound, "", "Not found: %s/nodePools/%s.", p.cluster(), p.pool)
		}
		return apply(c, pool)
	})
}

// busy is what is told while another operation runs.
func busy(o *operation) error {
	s := status.Newf(codes.FailedPrecondition, "Cluster is running incompatible operation %s.", o.pb().GetName())
	detailed, err := s.WithDetails(
		&errdetails.ErrorInfo{Reason: "CLUSTER_ALREADY_HAS_OPERATION", Domain: "container.googleapis.com"},
		&errdetails.RequestInfo{RequestId: "0x" + randomHex(8)})
	if err != nil {
		return s.Err()
	}
	return detailed.Err()
}

// GetOperation tells of an operation.
func (a api) GetOperation(_ context.Context, req *containerpb.GetOperationRequest) (*containerpb.Operation, error) {
	p, err := placeOf(req)
	if err != nil {
		return nil, err
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	o := a.s.state.Operations[p.operation()]
	if o == nil || o.outcome().Vanish {
		return nil, failure(codes.NotFound, "", "Not found: %s.", p.operation())
	}
	return proto.CloneOf(o.pb()), nil
}

// ListOperations tells of all operations of a location, "-" being all.
func (a api) ListOperations(ctx context.Context, req *containerpb.ListOperationsRequest) (*containerpb.ListOperationsResponse, error) {
	p, err := placeOf(req)
	if err != nil {
		return nil, err
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	reply := &containerpb.ListOperationsResponse{MissingZones: missing(ctx)}
	for key, o := range a.s.state.Operations {
		if inLocation(key, p.project, p.location) && !o.outcome().Vanish && !isMissing(ctx, o.pb().GetLocation()) {
			reply.Operations = append(reply.Operations, proto.CloneOf(o.pb()))
		}
	}
	slices.SortFunc(reply.Operations, func(a, b *containerpb.Operation) int {
		return strings.Compare(b.GetStartTime(), a.GetStartTime()) // newest first
	})
	return reply, nil
}

// CancelOperation ends an operation that is stuck; others are too far to be cancelled.
func (a api) CancelOperation(_ context.Context, req *containerpb.CancelOperationRequest) (*emptypb.Empty, error) {
	p, err := placeOf(req)
	if err != nil {
		return nil, err
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	o := a.s.state.Operations[p.operation()]
	switch {
	case o == nil:
		return nil, failure(codes.NotFound, "", "Not found: %s.", p.operation())
	case !o.running() || !o.outcome().Stuck:
		return nil, failure(codes.FailedPrecondition, "", "Operation %s cannot be cancelled.", p.name)
	}
	a.s.finish(o, &rpcstatus.Status{Code: int32(codes.Canceled), Message: "Operation was cancelled."})
	return &emptypb.Empty{}, a.s.state.save()
}

// finish ends an operation. The caller holds the lock.
func (s *Server) finish(o *operation, failed *rpcstatus.Status) {
	o.pb().Status = containerpb.Operation_DONE
	o.pb().EndTime = time.Now().UTC().Format(time.RFC3339Nano)
	o.pb().Error = failed
	o.pb().StatusMessage = failed.GetMessage()
}
