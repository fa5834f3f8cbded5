package gke_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	container "cloud.google.com/go/container/apiv1"
	"cloud.google.com/go/container/apiv1/containerpb"
	"golang.org/x/oauth2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/gke"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
	"github.com/rekindle-dev/rekindle/providers/providertest"
	emulator "github.com/rekindle-dev/rekindle/test/gke"
	"github.com/rekindle-dev/rekindle/test/gke/gketest"
)

const (
	project  = "acme"
	zone     = "europe-west6-a"
	tokenArg = "rekindle-test-token" // makes the test binary the exec plugin of a kubeconfig
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == tokenArg {
		raw, err := gke.ExecCredential(context.Background(), gke.OverrideFrom(os.Getenv))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(string(raw))
		os.Exit(0)
	}
	if len(os.Args) == 3 && os.Args[1] == ensureArg {
		p, err := gke.New(gke.Options{Settings: small(), Override: gke.OverrideFrom(os.Getenv), Pause: 200 * time.Millisecond})
		if err == nil {
			_, err = p.Ensure(context.Background(), providers.Spec{Name: os.Args[2]}, nil)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	kwoktest.Main(m)
}

// start opens an emulator whose credentials are the default ones of the test.
func start(t *testing.T, o emulator.Options) *emulator.Server {
	t.Helper()
	s := gketest.Start(t, o)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", s.CredentialsFile())
	return s
}

// small is one pool with one node in one zone.
func small() config.GKE {
	return config.GKE{Project: project, Location: zone, NodePools: []config.GKENodePool{{Name: "default", Nodes: 1}}}
}

// provider works on the emulator as if that were Google.
func provider(t *testing.T, s *emulator.Server, settings config.GKE) *gke.Provider {
	t.Helper()
	return within(t, s, settings, 30*time.Second)
}

// impatient does not wait long for nodes that do not come.
func impatient(t *testing.T, s *emulator.Server, settings config.GKE) *gke.Provider {
	t.Helper()
	return within(t, s, settings, 5*time.Second)
}

func within(t *testing.T, s *emulator.Server, settings config.GKE, registration time.Duration) *gke.Provider {
	t.Helper()
	return opened(t, s, gke.Options{Settings: settings, Registration: registration, Collection: 20 * time.Second})
}

// hasty does not wait long for what Google removes by itself.
func hasty(t *testing.T, s *emulator.Server) *gke.Provider {
	t.Helper()
	return opened(t, s, gke.Options{Settings: small(), Registration: 30 * time.Second, Collection: 3 * time.Second})
}

func opened(t *testing.T, s *emulator.Server, o gke.Options) *gke.Provider {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.Override, o.TokenCommand, o.Pause = gke.Override{Endpoint: s.URL(), CAFile: s.CAFile()}, []string{self, tokenArg}, 100*time.Millisecond
	p, err := gke.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ref(name string) providers.Ref { return providers.Ref{Provider: gke.Name, Name: name} }

// stranger is a client of somebody else's.
func stranger(t *testing.T, s *emulator.Server) *container.ClusterManagerClient {
	t.Helper()
	creds, err := credentials.NewClientTLSFromFile(s.CAFile(), "")
	if err != nil {
		t.Fatal(err)
	}
	client, err := container.NewClusterManagerClient(t.Context(), option.WithEndpoint(s.URL()[len("https://"):]),
		option.WithTokenSource(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: s.Token()})),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(creds)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// foreign makes a cluster that is not ours.
func foreign(t *testing.T, s *emulator.Server, name string) *containerpb.Cluster {
	t.Helper()
	client, parent := stranger(t, s), "projects/"+project+"/locations/"+zone
	o, err := client.CreateCluster(t.Context(), &containerpb.CreateClusterRequest{Parent: parent, Cluster: &containerpb.Cluster{
		Name: name, NodePools: []*containerpb.NodePool{{Name: "theirs", InitialNodeCount: 1}}, ResourceLabels: map[string]string{"team": "other"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	done := wait.Func("the foreign cluster", func(ctx context.Context) (bool, string, error) {
		o, err := client.GetOperation(ctx, &containerpb.GetOperationRequest{Name: parent + "/operations/" + o.GetName()})
		return o.GetStatus() == containerpb.Operation_DONE, "", err
	})
	if err := wait.Poll(t.Context(), done, 200*time.Millisecond, nil); err != nil {
		t.Fatal(err)
	}
	c, err := client.GetCluster(t.Context(), &containerpb.GetClusterRequest{Name: parent + "/clusters/" + name})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestProvider(t *testing.T) {
	s := start(t, emulator.Options{Pace: emulator.Pace{Pending: 100 * time.Millisecond, Create: time.Second}})
	providertest.Run(t, providertest.Subject{
		New:   func(t *testing.T) providers.Provider { return provider(t, s, small()) },
		Nodes: 1, Name: gke.Name, Prefix: "suite-",
		Foreign: func(t *testing.T, name string) func() error {
			before := foreign(t, s, name)
			return func() error {
				client := stranger(t, s)
				after, err := client.GetCluster(t.Context(), &containerpb.GetClusterRequest{Name: "projects/" + project + "/locations/" + zone + "/clusters/" + name})
				if err == nil && !proto.Equal(before, after) {
					err = fmt.Errorf("it is\n%v\nand was\n%v", after, before)
				}
				return err
			}
		},
		HalfMade: func(t *testing.T, spec providers.Spec) {
			ctx, kill := context.WithCancel(t.Context())
			defer kill()
			// GKE is still at it when the next run looks.
			s.SetScript(emulator.Fault{Method: "CreateCluster", Until: -1, Operation: &emulator.Outcome{Lasts: seconds(10)}})
			defer s.SetScript()
			created := len(s.Calls("CreateCluster"))
			ended := make(chan error, 1)
			go func() {
				_, err := provider(t, s, small()).Ensure(ctx, spec, nil)
				ended <- err
			}()
			accepted := wait.Func("the request", func(context.Context) (bool, string, error) {
				return len(s.Calls("CreateCluster")) > created, "", nil
			})
			if err := wait.Poll(ctx, accepted, 20*time.Millisecond, nil); err != nil {
				t.Fatal(err)
			}
			kill()
			if err := <-ended; err == nil {
				t.Fatal("it was not interrupted")
			}
		},
	})
}

// TestAnAutoscaledPoolGetsItsMinimum: GKE's autoscaler does not bring a new pool to it.
func TestAnAutoscaledPoolGetsItsMinimum(t *testing.T) {
	s := start(t, emulator.Options{Quotas: map[string]float64{emulator.MetricCPUs: 12}})
	settings := small()
	settings.NodePools = []config.GKENodePool{
		{Name: "each", Autoscaling: &config.GKEAutoscaling{Min: 2, Max: 3}}, {Name: "all", Autoscaling: &config.GKEAutoscaling{TotalMin: 3, TotalMax: 5}},
	}
	p, spec := provider(t, s, settings), providers.Spec{Name: "scaled"}
	if err := p.Preflight(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Ensure(t.Context(), spec, nil); err != nil {
		t.Error(err)
	}
	settings.NodePools[1].Autoscaling.TotalMin = 5 // seven nodes with two CPUs each
	if err := provider(t, s, settings).Preflight(t.Context(), providers.Spec{Name: "more"}); err == nil || !strings.Contains(err.Error(), "CPUS: needs 14") {
		t.Errorf("more than the quota: %v", err)
	}
}
