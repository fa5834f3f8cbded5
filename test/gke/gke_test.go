//lint:file-ignore SA1019 old clients send and read what is deprecated, and real servers still serve it

package gke_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	container "cloud.google.com/go/container/apiv1"
	"cloud.google.com/go/container/apiv1/containerpb"
	"github.com/googleapis/gax-go/v2/apierror"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
	gke "github.com/rekindle-dev/rekindle/test/gke"
	"github.com/rekindle-dev/rekindle/test/gke/gketest"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

const parent = "projects/acme/locations/europe-west6-a"

func trust(t *testing.T, s *gke.Server) *tls.Config {
	t.Helper()
	raw, err := os.ReadFile(s.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(raw)
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// source gives tokens as Google's own libraries get them: with the key of a service account.
func source(t *testing.T, s *gke.Server) oauth2.TokenSource {
	t.Helper()
	raw, err := os.ReadFile(s.CredentialsFile())
	if err != nil {
		t.Fatal(err)
	}
	config, err := google.JWTConfigFromJSON(raw, "https://www.googleapis.com/auth/cloud-platform")
	if err != nil {
		t.Fatal(err)
	}
	return config.TokenSource(context.WithValue(t.Context(), oauth2.HTTPClient, web(t, s)))
}

func web(t *testing.T, s *gke.Server) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: trust(t, s), ForceAttemptHTTP2: true}}
}

// overGRPC and overREST are the two clients of cloud.google.com/go/container.
func overGRPC(t *testing.T, s *gke.Server) *container.ClusterManagerClient {
	t.Helper()
	return closed(t)(container.NewClusterManagerClient(t.Context(), option.WithEndpoint(strings.TrimPrefix(s.URL(), "https://")),
		option.WithTokenSource(source(t, s)),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(credentials.NewTLS(trust(t, s))))))
}

func overREST(t *testing.T, s *gke.Server) *container.ClusterManagerClient {
	t.Helper()
	client := &http.Client{Transport: &oauth2.Transport{Source: source(t, s), Base: web(t, s).Transport}}
	return closed(t)(container.NewClusterManagerRESTClient(t.Context(), option.WithEndpoint(s.URL()), option.WithHTTPClient(client)))
}

func closed(t *testing.T) func(*container.ClusterManagerClient, error) *container.ClusterManagerClient {
	return func(c *container.ClusterManagerClient, err error) *container.ClusterManagerClient {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
}

// each runs a test with both clients.
func each(t *testing.T, o gke.Options, test func(t *testing.T, s *gke.Server, c *container.ClusterManagerClient)) {
	s := gketest.Start(t, o)
	t.Run("gRPC", func(t *testing.T) { test(t, s, overGRPC(t, s)) })
	t.Run("REST", func(t *testing.T) { test(t, s, overREST(t, s)) })
}

// wants checks an error. The REST client gives its code as an HTTP status alone.
func wants(t *testing.T, err error, code codes.Code, text string) {
	t.Helper()
	http := map[codes.Code]int{
		codes.InvalidArgument: http.StatusBadRequest, codes.FailedPrecondition: http.StatusBadRequest, codes.PermissionDenied: http.StatusForbidden,
		codes.NotFound: http.StatusNotFound, codes.AlreadyExists: http.StatusConflict, codes.Unimplemented: http.StatusNotImplemented,
		codes.Unavailable: http.StatusServiceUnavailable,
	}
	var api *apierror.APIError
	if !errors.As(err, &api) || !strings.Contains(err.Error(), text) {
		t.Errorf("%v; %s with %q is wanted", err, code, text)
		return
	}
	if n := api.HTTPCode(); (n > 0 && n != http[code]) || (n <= 0 && api.GRPCStatus().Code() != code) {
		t.Errorf("%v; %s is wanted", err, code)
	}
}

// done waits for an operation.
func done(t *testing.T, c *container.ClusterManagerClient, o *containerpb.Operation, err error) *containerpb.Operation {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	id := o.GetName()
	over := wait.Func(id, func(ctx context.Context) (bool, string, error) {
		o, err = c.GetOperation(ctx, &containerpb.GetOperationRequest{Name: parent + "/operations/" + id})
		return err == nil && o.GetStatus() == containerpb.Operation_DONE, "", err
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := wait.Poll(ctx, over, 200*time.Millisecond, nil); err != nil {
		t.Fatal(err)
	}
	return o
}

func cluster(name string, pools ...*containerpb.NodePool) *containerpb.CreateClusterRequest {
	if len(pools) == 0 {
		pools = []*containerpb.NodePool{{Name: "default", InitialNodeCount: 1}}
	}
	return &containerpb.CreateClusterRequest{Parent: parent, Cluster: &containerpb.Cluster{Name: name, NodePools: pools}}
}

func gone(name string) *containerpb.DeleteClusterRequest {
	return &containerpb.DeleteClusterRequest{Name: parent + "/clusters/" + name}
}

func get(t *testing.T, c *container.ClusterManagerClient, name string) *containerpb.Cluster {
	t.Helper()
	found, err := c.GetCluster(t.Context(), &containerpb.GetClusterRequest{Name: parent + "/clusters/" + name})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestLifeOfACluster(t *testing.T) {
	each(t, gke.Options{Pace: gke.Pace{Pending: 50 * time.Millisecond, Create: 3 * time.Second, Delete: 3 * time.Second}}, func(t *testing.T, s *gke.Server, c *container.ClusterManagerClient) {
		ctx := t.Context()
		o, err := c.CreateCluster(ctx, cluster("life"))
		if err != nil {
			t.Fatal(err)
		}
		if o.GetStatus() != containerpb.Operation_PENDING || o.GetOperationType() != containerpb.Operation_CREATE_CLUSTER || strings.Contains(o.GetTargetLink(), "acme") {
			t.Errorf("the operation is %v; links have the project's number", o)
		}
		if got := get(t, c, "life"); got.GetStatus() != containerpb.Cluster_PROVISIONING || got.GetEndpoint() != "" {
			t.Errorf("at first it is %s at %q", got.GetStatus(), got.GetEndpoint())
		}
		_, err = c.CreateCluster(ctx, cluster("life"))
		wants(t, err, codes.AlreadyExists, "Already exists: "+parent+"/clusters/life")
		_, err = c.DeleteCluster(ctx, gone("life"))
		wants(t, err, codes.FailedPrecondition, "running incompatible operation "+o.GetName())
		done(t, c, o, nil)
		looks(t, s, get(t, c, "life"))
		pools(t, c)
		labels(t, c)
		list, err := c.ListClusters(ctx, &containerpb.ListClustersRequest{Parent: "projects/acme/locations/-"})
		if err != nil || len(list.GetClusters()) != 1 {
			t.Errorf("list: %v, %v", list, err)
		}
		o, err = c.DeleteCluster(ctx, gone("life"))
		if err == nil && get(t, c, "life").GetStatus() != containerpb.Cluster_STOPPING {
			t.Error("it does not stop")
		}
		done(t, c, o, err)
		_, err = c.GetCluster(ctx, &containerpb.GetClusterRequest{Name: parent + "/clusters/life"})
		wants(t, err, codes.NotFound, "Not found: "+parent+"/clusters/life")
	})
}

// looks checks what the server fills in, and that what it tells is true.
func looks(t *testing.T, s *gke.Server, c *containerpb.Cluster) {
	t.Helper()
	if c.GetStatus() != containerpb.Cluster_RUNNING || c.GetNodePools()[0].GetStatus() != containerpb.NodePool_RUNNING {
		t.Errorf("it is %s, its pool %s", c.GetStatus(), c.GetNodePools()[0].GetStatus())
	}
	for what, value := range map[string]string{
		"self link": c.GetSelfLink(), "id": c.GetId(), "etag": c.GetEtag(), "fingerprint": c.GetLabelFingerprint(), "time": c.GetCreateTime(),
		"network": c.GetNetwork(), "endpoint": c.GetEndpoint(), "CA": c.GetMasterAuth().GetClusterCaCertificate(), "version": c.GetCurrentMasterVersion(),
		"DNS": c.GetControlPlaneEndpointsConfig().GetDnsEndpointConfig().GetEndpoint(), "machine": c.GetNodePools()[0].GetConfig().GetMachineType(),
	} {
		if value == "" {
			t.Errorf("it has no %s", what)
		}
	}
	if c.GetReleaseChannel().GetChannel() != containerpb.ReleaseChannel_REGULAR || !slices.Equal(c.GetLocations(), []string{"europe-west6-a"}) {
		t.Errorf("channel %v, locations %v", c.GetReleaseChannel(), c.GetLocations())
	}
	for token, code := range map[string]int{s.Token(): http.StatusOK, "bad": http.StatusUnauthorized} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+c.GetControlPlaneEndpointsConfig().GetDnsEndpointConfig().GetEndpoint()+"/version", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := web(t, s).Do(req)
		if err != nil {
			t.Error(err)
			continue
		}
		if resp.StatusCode != code {
			t.Errorf("the API server answers %s", resp.Status)
		}
		_ = resp.Body.Close()
	}
}

// pools adds a pool, changes its size and removes it.
func pools(t *testing.T, c *container.ClusterManagerClient) {
	t.Helper()
	ctx, in := t.Context(), parent+"/clusters/life"
	o, err := c.CreateNodePool(ctx, &containerpb.CreateNodePoolRequest{Parent: in, NodePool: &containerpb.NodePool{Name: "more", InitialNodeCount: 2}})
	done(t, c, o, err)
	o, err = c.SetNodePoolSize(ctx, &containerpb.SetNodePoolSizeRequest{Name: in + "/nodePools/more", NodeCount: 1})
	done(t, c, o, err)
	o, err = c.SetNodePoolAutoscaling(ctx, &containerpb.SetNodePoolAutoscalingRequest{Name: in + "/nodePools/more", Autoscaling: &containerpb.NodePoolAutoscaling{Enabled: true, MaxNodeCount: 3}})
	done(t, c, o, err)
	pool, err := c.GetNodePool(ctx, &containerpb.GetNodePoolRequest{Name: in + "/nodePools/more"})
	if err != nil || pool.GetInitialNodeCount() != 1 || pool.GetAutoscaling().GetMaxNodeCount() != 3 || pool.GetStatus() != containerpb.NodePool_RUNNING {
		t.Errorf("the pool is %v, %v", pool, err)
	}
	o, err = c.DeleteNodePool(ctx, &containerpb.DeleteNodePoolRequest{Name: in + "/nodePools/more"})
	done(t, c, o, err)
	list, err := c.ListNodePools(ctx, &containerpb.ListNodePoolsRequest{Parent: in})
	if err != nil || len(list.GetNodePools()) != 1 {
		t.Errorf("pools: %v, %v", list, err)
	}
}

// labels are changed by who knows them.
func labels(t *testing.T, c *container.ClusterManagerClient) {
	t.Helper()
	req := &containerpb.SetLabelsRequest{Name: parent + "/clusters/life", ResourceLabels: map[string]string{"team": "shop"}, LabelFingerprint: "stale"}
	_, err := c.SetLabels(t.Context(), req)
	if err == nil || !strings.Contains(err.Error(), "fingerprint") {
		t.Errorf("labels without their fingerprint: %v", err)
	}
	req.LabelFingerprint = get(t, c, "life").GetLabelFingerprint()
	o, err := c.SetLabels(t.Context(), req)
	done(t, c, o, err)
	if got := get(t, c, "life").GetResourceLabels(); got["team"] != "shop" {
		t.Errorf("labels %v", got)
	}
}

func TestRequestsAreChecked(t *testing.T) {
	each(t, gke.Options{Quotas: map[string]float64{gke.MetricCPUs: 8, gke.MetricClusters: 5}}, func(t *testing.T, _ *gke.Server, c *container.ClusterManagerClient) {
		pool := func(change func(*containerpb.NodePool)) *containerpb.CreateClusterRequest {
			p := &containerpb.NodePool{Name: "default", InitialNodeCount: 1, Config: &containerpb.NodeConfig{}, Autoscaling: &containerpb.NodePoolAutoscaling{}}
			change(p)
			return cluster("bad", p)
		}
		whole := func(change func(*containerpb.Cluster)) *containerpb.CreateClusterRequest {
			r := cluster("bad")
			change(r.Cluster)
			return r
		}
		for text, req := range map[string]*containerpb.CreateClusterRequest{
			"cluster.name":                     cluster("Bad"),
			"no longer":                        cluster("b234567890123456789012345678901234567890x"),
			"together with Cluster.node_pools": whole(func(c *containerpb.Cluster) { c.InitialNodeCount = 1 }),
			"must be greater than zero":        whole(func(c *containerpb.Cluster) { c.NodePools = nil }),
			"must be regional":                 whole(func(c *containerpb.Cluster) { c.Autopilot = &containerpb.Autopilot{Enabled: true} }),
			"no network named":                 whole(func(c *containerpb.Cluster) { c.Network = "none" }),
			"unsupported":                      whole(func(c *containerpb.Cluster) { c.InitialClusterVersion = "1.2" }),
			"Invalid label":                    whole(func(c *containerpb.Cluster) { c.ResourceLabels = map[string]string{"A.b": ""} }),
			"not in region":                    whole(func(c *containerpb.Cluster) { c.Locations = []string{"us-east1-b"} }),
			"acme.svc.id.goog": whole(func(c *containerpb.Cluster) {
				c.WorkloadIdentityConfig = &containerpb.WorkloadIdentityConfig{WorkloadPool: "other.svc.id.goog"}
			}),
			"mutually exclusive": pool(func(p *containerpb.NodePool) { p.Autoscaling.MaxNodeCount, p.Autoscaling.TotalMaxNodeCount = 1, 1 }),
			"Machine type":       pool(func(p *containerpb.NodePool) { p.Config.MachineType = "huge" }),
			"disk_size_gb":       pool(func(p *containerpb.NodePool) { p.Config.DiskSizeGb = 5 }),
			"not unique":         cluster("bad", &containerpb.NodePool{Name: "a"}, &containerpb.NodePool{Name: "a"}),
			"must have the same value": whole(func(c *containerpb.Cluster) {
				c.PrivateClusterConfig = &containerpb.PrivateClusterConfig{EnablePrivateNodes: true}
				c.NetworkConfig = &containerpb.NetworkConfig{DefaultEnablePrivateNodes: new(false)}
			}),
		} {
			_, err := c.CreateCluster(t.Context(), req)
			wants(t, err, codes.InvalidArgument, text)
		}
		_, err := c.CreateCluster(t.Context(), pool(func(p *containerpb.NodePool) { p.Config.MachineType = "e2-standard-16" }))
		wants(t, err, codes.PermissionDenied, `resource "CPUS": request requires '16.0' and is short '8.0'. project has a quota of '8.0' with '8.0' available`)
		_, err = c.SetLegacyAbac(t.Context(), &containerpb.SetLegacyAbacRequest{Name: parent + "/clusters/bad"})
		wants(t, err, codes.Unimplemented, "")
	})
}

func TestVersions(t *testing.T) {
	each(t, gke.Options{}, func(t *testing.T, _ *gke.Server, c *container.ClusterManagerClient) {
		config, err := c.GetServerConfig(t.Context(), &containerpb.GetServerConfigRequest{Name: parent})
		if err != nil || len(config.GetChannels()) != 4 {
			t.Fatalf("%v, %v", config, err)
		}
		for _, channel := range config.GetChannels() {
			if !slices.Contains(channel.GetValidVersions(), channel.GetDefaultVersion()) || !strings.Contains(channel.GetDefaultVersion(), "-gke.") {
				t.Errorf("channel %v", channel)
			}
		}
	})
}

func TestTheScript(t *testing.T) {
	stuck := gke.Fault{Method: "CreateCluster", Call: 2, Operation: &gke.Outcome{Stuck: true}}
	each(t, gke.Options{}, func(t *testing.T, s *gke.Server, c *container.ClusterManagerClient) {
		c.CallOptions = &container.ClusterManagerCallOptions{}
		s.SetScript(stuck,
			gke.Fault{Method: "CreateCluster", Call: 1, Before: &gke.Error{Code: codes.Unavailable, Message: "nobody"}},
			gke.Fault{Method: "ListClusters", Missing: []string{"us-east1-b"}})
		_, err := c.CreateCluster(t.Context(), cluster("stuck"))
		wants(t, err, codes.Unavailable, "nobody")
		o, err := c.CreateCluster(t.Context(), cluster("stuck"))
		if err != nil {
			t.Fatal(err)
		}
		list, err := c.ListClusters(t.Context(), &containerpb.ListClustersRequest{Parent: "projects/acme/locations/-"})
		if err != nil || !slices.Equal(list.GetMissingZones(), []string{"us-east1-b"}) {
			t.Errorf("list: %v, %v", list, err)
		}
		running := wait.Func("it runs", func(ctx context.Context) (bool, string, error) {
			o, err := c.GetOperation(ctx, &containerpb.GetOperationRequest{Name: parent + "/operations/" + o.GetName()})
			return o.GetStatus() == containerpb.Operation_RUNNING, "", err
		})
		if err := wait.Poll(t.Context(), running, 100*time.Millisecond, nil); err != nil {
			t.Fatal(err)
		}
		if err := c.CancelOperation(t.Context(), &containerpb.CancelOperationRequest{Name: parent + "/operations/" + o.GetName()}); err != nil {
			t.Fatal(err)
		}
		if o := done(t, c, o, nil); o.GetError().GetCode() != int32(codes.Canceled) {
			t.Errorf("it ended with %v", o.GetError())
		}
		o, err = c.DeleteCluster(t.Context(), gone("stuck"))
		done(t, c, o, err)
	})
}

// TestZones calls the older form of the paths, as gcloud and scripts do.
func TestZones(t *testing.T) {
	s := gketest.Start(t, gke.Options{})
	client := &http.Client{Transport: &oauth2.Transport{Source: source(t, s), Base: web(t, s).Transport}}
	base := s.URL() + "/v1/projects/acme/zones/europe-west6-a/"
	for path, code := range map[string]int{
		"serverconfig": http.StatusOK, "clusters": http.StatusOK, "clusters/none": http.StatusNotFound, "operations": http.StatusOK, "nonsense": http.StatusNotFound,
		"clusters?" + url.Values{"unknown": {"1"}}.Encode(): http.StatusBadRequest,
	} {
		resp, err := client.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != code {
			t.Errorf("%s: %s, %d is wanted", path, resp.Status, code)
		}
		_ = resp.Body.Close()
	}
	for body, code := range map[string]int{
		`{"cluster":{"name":"old","initialNodeCount":1,"unknown":1}}`: http.StatusBadRequest,
		`{"cluster":{"name":"old","initialNodeCount":1}}`:             http.StatusOK,
	} {
		resp, err := client.Post(base+"clusters", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != code {
			t.Errorf("%s: %s, %d is wanted", body, resp.Status, code)
		}
		_ = resp.Body.Close()
	}
	resp, err := web(t, s).Get(base + "clusters")
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %s", resp.Status)
	}
	_ = resp.Body.Close()
}

// TestRestart ends an emulator in the middle of an operation and opens it again.
func TestRestart(t *testing.T) {
	o := gke.Options{Dir: t.TempDir(), Pace: gke.Pace{Create: 2 * time.Second}}
	s := gketest.Open(t, o)
	op, err := overGRPC(t, s).CreateCluster(t.Context(), cluster("kept"))
	if err != nil {
		t.Fatal(err)
	}
	before := s.URL()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = gketest.Open(t, o)
	if s.URL() != before {
		t.Errorf("it was at %s and is at %s", before, s.URL())
	}
	done(t, overGRPC(t, s), op, nil)
	made := get(t, overGRPC(t, s), "kept")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = gketest.Open(t, o)
	defer gketest.Destroy(t, s)
	again := get(t, overREST(t, s), "kept")
	if again.GetEndpoint() != made.GetEndpoint() || again.GetId() != made.GetId() {
		t.Errorf("it was %s at %s and is %s at %s", made.GetId(), made.GetEndpoint(), again.GetId(), again.GetEndpoint())
	}
	looks(t, s, again)
}
