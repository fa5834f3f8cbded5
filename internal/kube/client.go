package kube

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rekindle-dev/rekindle/internal/wait"
)

// discoveryTimeout bounds each request for what the server serves.
const discoveryTimeout = 10 * time.Second

// parallel is how many objects are read or written at a time.
const parallel = 16

// Client is a connection to one API server. It is safe for concurrent use.
type Client struct {
	config    *rest.Config
	http      *http.Client
	dynamic   dynamic.Interface
	typed     kubernetes.Interface
	discovery *sharedDiscovery
	direct    *discovery.DiscoveryClient
	mapper    *sharedMapper
	clock     *serverClock
	grants    *grants
	simulated bool
	redact    func(string) string
	running   sync.WaitGroup // what ends with the lifetimes that were given to it
}

// Option is how a client differs from others.
type Option func(*Client)

// Simulated says whether the cluster's nodes are simulated: what only the controllers in its pods could tell is not awaited.
func Simulated(simulated bool) Option { return func(c *Client) { c.simulated = simulated } }

// Redacted has the texts of others that are cut to be shown, logs and messages, go through a function that takes the secrets out
// first: it would not know half a secret. A nil function stands for none.
func Redacted(redact func(string) string) Option {
	return func(c *Client) {
		if redact != nil {
			c.redact = redact
		}
	}
}

// Connect makes a client. It does not speak with the server yet. The config is copied.
func Connect(cfg *rest.Config, options ...Option) (*Client, error) {
	config := rest.CopyConfig(cfg)
	// The server's priority and fairness is what bounds requests, and parallel. client-go's default of 5 a second would make a
	// stack of twenty charts wait for minutes, and its limiter tells a deadline that is near as an error of its own.
	config.QPS, config.RateLimiter = -1, nil
	config.WarningHandler = rest.NoWarnings{} // only report prints
	config.WarningHandlerWithContext = nil
	if config.UserAgent == "" {
		config.UserAgent = "rekindle"
	}
	clock := &serverClock{}
	config.Wrap(clock.listen)
	grants := newGrants()
	config.Wrap(grants.listen)
	shared, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	c := &Client{config: config, http: shared, clock: clock, grants: grants, redact: func(s string) string { return s }}
	for _, option := range options {
		option(c)
	}
	if c.dynamic, err = dynamic.NewForConfigAndClient(config, shared); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	if c.typed, err = kubernetes.NewForConfigAndClient(config, shared); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	// What is cached of discovery takes no context, and bounds itself only by the timeout of the HTTP client that it is given.
	bounded := &http.Client{Transport: shared.Transport, CheckRedirect: shared.CheckRedirect, Timeout: discoveryTimeout}
	direct, err := discovery.NewDiscoveryClientForConfigAndClient(config, bounded)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	c.direct = direct
	c.discovery = &sharedDiscovery{CachedDiscoveryInterface: memory.NewMemCacheClient(direct)}
	c.mapper = &sharedMapper{discovery: c.discovery}
	return c, nil
}

// Version is that of the API server. It is asked again while the server is away.
func (c *Client) Version(ctx context.Context) (info *version.Info, err error) {
	err = persist(ctx, "the version of the API server", nil, func(ctx context.Context) (err error) {
		info, err = c.direct.ServerVersionWithContext(ctx)
		return err
	})
	return info, err
}

// Answers waits until the API server says that it is ready.
func (c *Client) Answers(ctx context.Context) error {
	ready := wait.Func("the API server to be ready", func(ctx context.Context) (bool, string, error) {
		_, err := c.typed.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		switch {
		case err == nil:
			return true, "", nil
		case transient(err):
			return false, brief(err), nil
		case apierrors.IsInternalError(err):
			return false, "it is starting", nil
		}
		return false, "", err
	})
	return wait.Poll(ctx, ready, time.Second, nil)
}

// Close returns when nothing of the client runs any more: call it after the lifetimes given to it are
// done, so that a held lease is given back before the process ends. It closes idle connections.
func (c *Client) Close() {
	c.running.Wait()
	closeIdle(c.http.Transport)
}

// closeIdle closes the idle connections of a transport below what client-go and others have put around it, which do not pass the wish on.
func closeIdle(t http.RoundTripper) {
	for t != nil {
		switch at := t.(type) {
		case interface{ CloseIdleConnections() }:
			at.CloseIdleConnections()
			return
		case utilnet.RoundTripperWrapper:
			t = at.WrappedRoundTripper()
		default:
			return
		}
	}
}

// Config is the configuration that the client uses, for those that must make a client of their own.
// It must not be changed.
func (c *Client) Config() *rest.Config { return c.config }

// Dynamic reads and writes objects of any kind.
func (c *Client) Dynamic() dynamic.Interface { return c.dynamic }

// Typed reads and writes objects of the built-in kinds.
func (c *Client) Typed() kubernetes.Interface { return c.typed }

// Mapper maps kinds to resources. A kind that it does not know costs at most one refresh of the
// discovery cache.
func (c *Client) Mapper() meta.RESTMapper { return c.mapper }

// Discovery is the shared cache of what the server serves. A burst of Invalidate calls costs one refresh.
func (c *Client) Discovery() discovery.CachedDiscoveryInterface { return c.discovery }

// RESTClientGetter gives Helm and others of the kubectl family the shared caches, with the default
// namespace that they ask for.
func (c *Client) RESTClientGetter(namespace string) genericclioptions.RESTClientGetter {
	return getter{c, namespace}
}

type getter struct {
	client    *Client
	namespace string
}

// ToRESTConfig gives a copy each time: kubectl's factory writes path and group into what it gets.
func (g getter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.client.config), nil }

func (g getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.client.discovery, nil
}

func (g getter) ToRESTMapper() (meta.RESTMapper, error) { return g.client.mapper, nil }

func (g getter) ToRawKubeConfigLoader() clientcmd.ClientConfig { return loader(g) }

// loader answers what Helm asks a kubeconfig for: the default namespace.
type loader getter

func (l loader) RawConfig() (clientcmdapi.Config, error) { return *clientcmdapi.NewConfig(), nil }

func (l loader) ClientConfig() (*rest.Config, error) { return getter(l).ToRESTConfig() }

func (l loader) Namespace() (string, bool, error) { return l.namespace, true, nil }

func (l loader) ConfigAccess() clientcmd.ConfigAccess {
	return clientcmd.NewDefaultClientConfigLoadingRules()
}
