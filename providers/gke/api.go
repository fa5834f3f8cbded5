package gke

import (
	"context"
	"net/url"
	"strings"
	"time"

	container "cloud.google.com/go/container/apiv1"
	"cloud.google.com/go/container/apiv1/containerpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
)

// callTimeout bounds one call. Without a bound of its own, one that hangs would last as long as the run.
const callTimeout = 30 * time.Second

// api is the calls that are used, each with a short time and with a token that is renewed when it is refused.
// It has no retries: whether a call may be sent again is known by who made it.
type api struct {
	client *container.ClusterManagerClient
	tokens *tokens
}

// connect makes the client; the connection is made by the first call.
func (p *Provider) connect(ctx context.Context) (*api, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	config, err := p.override.trust()
	if err != nil {
		return nil, err
	}
	options := []option.ClientOption{
		option.WithoutAuthentication(), // bearerCredentials do it: the library's would keep a token that is refused
		option.WithGRPCDialOption(grpc.WithTransportCredentials(credentials.NewTLS(config))),
		option.WithGRPCDialOption(grpc.WithPerRPCCredentials(bearerCredentials{p.tokens})),
		option.WithUserAgent("rekindle"),
	}
	if p.override.Endpoint != "" {
		u, err := url.Parse(p.override.Endpoint)
		if err != nil {
			return nil, err
		}
		host := u.Host
		if u.Port() == "" {
			host += ":443"
		}
		options = append(options, option.WithEndpoint(host))
	}
	client, err := container.NewClusterManagerClient(ctx, options...)
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "make a client of GKE").On("gke")
	}
	client.CallOptions = &container.ClusterManagerCallOptions{} // no retries
	return &api{client, p.tokens}, nil
}

func (a *api) close() { _ = a.client.Close() }

// bearerCredentials puts the token on each call.
type bearerCredentials struct{ tokens *tokens }

func (b bearerCredentials) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, quota, err := b.tokens.get(ctx)
	if err != nil {
		return nil, err
	}
	md := map[string]string{"authorization": token.Type() + " " + token.AccessToken}
	if quota != "" {
		md["x-goog-user-project"] = quota
	}
	return md, nil
}

func (bearerCredentials) RequireTransportSecurity() bool { return true }

// call makes a call, and once more when its token is refused.
func call[T any](ctx context.Context, a *api, do func(context.Context) (T, error)) (T, error) {
	// Asked for here, a token that cannot be had is told as it is, and not as what gRPC makes of it.
	token, _, err := a.tokens.get(ctx)
	if err != nil {
		var none T
		return none, err
	}
	reply, err := bounded(ctx, do)
	if codeOf(err) == codes.Unauthenticated {
		a.tokens.drop(token.AccessToken)
		reply, err = bounded(ctx, do)
	}
	return reply, err
}

func bounded[T any](ctx context.Context, do func(context.Context) (T, error)) (T, error) {
	short, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply, err := do(short)
	if err != nil && ctx.Err() != nil {
		return reply, ctx.Err()
	}
	return reply, err
}

// cluster gets a cluster; ErrNotFound when there is none.
func (a *api) cluster(ctx context.Context, at place) (*containerpb.Cluster, error) {
	c, err := call(ctx, a, func(ctx context.Context) (*containerpb.Cluster, error) {
		return a.client.GetCluster(ctx, &containerpb.GetClusterRequest{Name: at.path()})
	})
	if codeOf(err) == codes.NotFound {
		return nil, providers.ErrNotFound
	}
	return c, err
}

func (a *api) clusters(ctx context.Context, at place) (*containerpb.ListClustersResponse, error) {
	return call(ctx, a, func(ctx context.Context) (*containerpb.ListClustersResponse, error) {
		return a.client.ListClusters(ctx, &containerpb.ListClustersRequest{Parent: at.parent()})
	})
}

func (a *api) create(ctx context.Context, req *containerpb.CreateClusterRequest) (*containerpb.Operation, error) {
	return call(ctx, a, func(ctx context.Context) (*containerpb.Operation, error) { return a.client.CreateCluster(ctx, req) })
}

func (a *api) delete(ctx context.Context, at place) (*containerpb.Operation, error) {
	return call(ctx, a, func(ctx context.Context) (*containerpb.Operation, error) {
		return a.client.DeleteCluster(ctx, &containerpb.DeleteClusterRequest{Name: at.path()})
	})
}

func (a *api) setLabels(ctx context.Context, at place, labels map[string]string, fingerprint string) (*containerpb.Operation, error) {
	return call(ctx, a, func(ctx context.Context) (*containerpb.Operation, error) {
		return a.client.SetLabels(ctx, &containerpb.SetLabelsRequest{Name: at.path(), ResourceLabels: labels, LabelFingerprint: fingerprint})
	})
}

func (a *api) operation(ctx context.Context, at place, id string) (*containerpb.Operation, error) {
	return call(ctx, a, func(ctx context.Context) (*containerpb.Operation, error) {
		return a.client.GetOperation(ctx, &containerpb.GetOperationRequest{Name: at.operation(id)})
	})
}

// operations gives those of a cluster, and of those that had its name before, as far back as GKE knows them. A cluster that is being
// made may be known by its operation alone.
func (a *api) operations(ctx context.Context, at place) (list []*containerpb.Operation, err error) {
	reply, err := call(ctx, a, func(ctx context.Context) (*containerpb.ListOperationsResponse, error) {
		return a.client.ListOperations(ctx, &containerpb.ListOperationsRequest{Parent: at.parent()})
	})
	if err != nil {
		return nil, err
	}
	for _, o := range reply.GetOperations() {
		// The link has the project's number; everything that is listed is of the project.
		_, target, ok := strings.Cut(o.GetTargetLink(), "/clusters/")
		target, _, _ = strings.Cut(target, "/")
		if ok && target == at.name {
			list = append(list, o)
		}
	}
	return list, nil
}

// running gives the operation that goes on on a cluster, nil without one.
func (a *api) running(ctx context.Context, at place) (*containerpb.Operation, error) {
	list, err := a.operations(ctx, at)
	for _, o := range list {
		if o.GetStatus() != containerpb.Operation_DONE {
			return o, nil
		}
	}
	return nil, err
}

func (a *api) serverConfig(ctx context.Context, at place) (*containerpb.ServerConfig, error) {
	return call(ctx, a, func(ctx context.Context) (*containerpb.ServerConfig, error) {
		return a.client.GetServerConfig(ctx, &containerpb.GetServerConfigRequest{Name: at.parent()})
	})
}
