package kind

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/log"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// Name is the provider's name in references.
const Name = "kind"

// Provider makes kind clusters.
type Provider struct {
	settings Settings
	runtime  runtime
	now      func() time.Time
}

// Provider gives what the contract and bootstrap ask of it.
var _ interface {
	providers.Provider
	providers.HostReacher
	providers.Versioned
} = (*Provider)(nil)

// New makes the provider. Settings are checked by Preflight, not here.
func New(s Settings) *Provider {
	return &Provider{settings: s, runtime: detect(), now: time.Now}
}

// KubernetesVersion is that of the first node's image, as far as its name tells.
func (p *Provider) KubernetesVersion() string {
	cfg, err := p.settings.effective()
	if err != nil {
		return ""
	}
	return versionOf(cfg.Nodes[0].Image)
}

// library gives kind's own provider, which tells its log to l.
func (p *Provider) library(l log.Logger) *cluster.Provider {
	with := cluster.ProviderWithDocker()
	switch p.runtime.command {
	case docker:
	case podman:
		with = cluster.ProviderWithPodman()
	default:
		with = cluster.ProviderWithNerdctl(p.runtime.command)
	}
	return cluster.NewProvider(with, cluster.ProviderWithLogger(l))
}

// Find describes the cluster.
func (p *Provider) Find(ctx context.Context, r providers.Ref) (*providers.Cluster, error) {
	nodes, err := p.runtime.list(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	m, err := owner(nodes)
	if err != nil {
		return nil, err
	}
	return p.describe(ctx, r.Name, m, nodes)
}

// owner gives the mark of a cluster's nodes: ErrNotFound without nodes, ErrNotOwned when one of them
// is not ours. A balancer belongs to the nodes beside it; alone it is nobody's that could be told.
func owner(nodes []container) (*mark, error) {
	if len(nodes) == 0 {
		return nil, providers.ErrNotFound
	}
	var ours *mark
	for _, n := range nodes {
		if ofOthers(n) {
			return nil, providers.ErrNotOwned
		}
		if ours == nil {
			ours = n.Mark // a balancer has none
		}
	}
	if ours == nil {
		return nil, providers.ErrNotOwned
	}
	return ours, nil
}

// describe fills in what can be known of a cluster of ours without changing it. One that cannot be looked into is not
// Complete: whoever would remove it for that has to ask made.
func (p *Provider) describe(ctx context.Context, name string, m *mark, nodes []container) (*providers.Cluster, error) {
	control := controlPlane(nodes)
	if control == nil || !control.Running {
		return byMark(name, m), nil
	}
	version, made, err := p.made(ctx, control)
	if err != nil || !made {
		return byMark(name, m), ctx.Err()
	}
	c, err := p.complete(name, m, version)
	if err != nil { // its container has no network, say: that keeps nobody from listing or deleting it
		return byMark(name, m), ctx.Err()
	}
	return c, nil
}

// byMark is what the mark alone tells of a cluster.
func byMark(name string, m *mark) *providers.Cluster {
	return &providers.Cluster{
		Ref: providers.Ref{Provider: Name, Name: name}, Hash: m.hash, Run: m.run, Created: m.created, Expires: m.expires,
	}
}

// complete describes a cluster that is made, and how to reach it.
func (p *Provider) complete(name string, m *mark, version string) (*providers.Cluster, error) {
	c := byMark(name, m)
	c.Version = version
	if err := p.access(c); err != nil {
		return nil, err
	}
	c.Complete = true
	return c, nil
}

// made says whether kind's creation of a cluster had returned, and the version of Kubernetes that it runs then. An error says that
// its container could not be asked, which says nothing of the cluster.
func (p *Provider) made(ctx context.Context, control *container) (version string, made bool, err error) {
	const halfMade = "half-made"
	out, err := p.runtime.run(ctx, "exec", control.Name, "sh", "-c",
		"if test -f "+completeFile+"; then cat "+versionFile+"; else echo "+halfMade+"; fi")
	if err != nil {
		return "", false, err
	}
	version = strings.TrimSpace(string(out))
	return version, version != halfMade, nil
}

// controlPlane is the first node with a control plane: the one on which the files of the cluster are.
func controlPlane(nodes []container) *container {
	var first *container
	for i, n := range nodes {
		if n.Role == controlRole && (first == nil || n.Name < first.Name) {
			first = &nodes[i]
		}
	}
	return first
}

// access adds how to reach the API server.
func (p *Provider) access(c *providers.Cluster) error {
	raw, err := p.library(log.NoopLogger{}).KubeConfig(c.Ref.Name, false)
	if err != nil {
		return fmt.Errorf("read the kubeconfig of %s: %w", c.Ref, err)
	}
	kubeconfig, err := clientcmd.Load([]byte(raw))
	if err != nil {
		return fmt.Errorf("read the kubeconfig of %s: %w", c.Ref, err)
	}
	c.Kubeconfig = kubeconfig
	c.REST, err = clientcmd.NewDefaultClientConfig(*kubeconfig, &clientcmd.ConfigOverrides{}).ClientConfig()
	return err
}

// List gives all kind clusters with our mark.
func (p *Provider) List(ctx context.Context) ([]*providers.Cluster, error) {
	nodes, err := p.runtime.list(ctx, "")
	if err != nil {
		return nil, err
	}
	byCluster := map[string][]container{}
	for _, n := range nodes {
		byCluster[n.Cluster] = append(byCluster[n.Cluster], n)
	}
	var all []*providers.Cluster
	for name, nodes := range byCluster {
		m, err := owner(nodes)
		if err != nil {
			continue // not ours
		}
		c, err := p.describe(ctx, name, m, nodes)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *providers.Cluster) int { return strings.Compare(a.Ref.Name, b.Ref.Name) })
	return all, nil
}

// ReachesHost looks whether the network of the nodes is one of this machine.
func (p *Provider) ReachesHost(ctx context.Context) error { return p.runtime.reachesHost(ctx) }

// HostAddress is this machine's address on the network of the nodes.
func (p *Provider) HostAddress(ctx context.Context, _ providers.Ref) (string, error) {
	return p.runtime.gateway(ctx)
}

// Delete removes the containers with their volumes, and the network when rekindle brought it and
// nothing else is on it.
func (p *Provider) Delete(ctx context.Context, r providers.Ref, progress plan.Progress) error {
	if err := validate(r.Name); err != nil {
		return err
	}
	return exclusively(ctx, r.Name, progress, func() error { return p.remove(ctx, r, progress) })
}

// remove is Delete for whoever holds the lock.
func (p *Provider) remove(ctx context.Context, r providers.Ref, progress plan.Progress) error {
	nodes, err := p.runtime.list(ctx, r.Name)
	if err != nil || len(nodes) == 0 {
		return err
	}
	m, err := owner(nodes)
	if err != nil {
		return refuseForeign(r)
	}
	brought := m.network || p.inherited(ctx, nodes)
	progress.Waiting(plan.Count(len(nodes), "container") + " to go")
	if err := p.runtime.removeNodes(ctx, nodes); err != nil {
		return fault.Wrap(err, fault.Failed, "remove its containers").On("cluster %s", r).
			WithHint("run the command again; to do it by hand: %s rm --force --volumes %s", p.runtime.command, names(nodes))
	}
	if !brought {
		return nil
	}
	return p.leaveNetwork(ctx)
}

// leaveNetwork removes the network that rekindle brought, or has another of its clusters do so in the end.
func (p *Provider) leaveNetwork(ctx context.Context) error {
	exists, containers, err := p.runtime.hasNetwork(ctx)
	if err != nil || !exists {
		return err
	}
	if containers == 0 {
		if _, err = p.runtime.run(ctx, "network", "rm", p.runtime.network); err != nil {
			return fault.Wrap(err, fault.Failed, "remove the network %s", p.runtime.network).On("kind").
				WithHint("run the command again, or %s network rm %s", p.runtime.command, p.runtime.network)
		}
		return nil
	}
	others, err := p.runtime.list(ctx, "")
	if err != nil {
		return err
	}
	for _, n := range others {
		if n.Mark == nil || !n.Running || n.Role != controlRole {
			continue
		}
		if _, err := p.runtime.run(ctx, "exec", n.Name, "touch", heirFile); err == nil {
			return nil
		}
	}
	return ctx.Err() // somebody else uses it: it is theirs now
}

// inherited says whether a cluster is to remove a network that one before it brought.
func (p *Provider) inherited(ctx context.Context, nodes []container) bool {
	control := controlPlane(nodes)
	if control == nil || !control.Running {
		return false
	}
	_, err := p.runtime.run(ctx, "exec", control.Name, "test", "-f", heirFile)
	return err == nil
}

// Leftovers lists containers of the cluster that still exist: its volumes go with them.
func (p *Provider) Leftovers(ctx context.Context, r providers.Ref) ([]providers.Resource, error) {
	nodes, err := p.runtime.list(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	var left []providers.Resource
	for _, n := range nodes {
		left = append(left, providers.Resource{
			Kind: "container", Name: n.Name, Remove: p.runtime.command + " rm --force --volumes " + n.Name,
		})
	}
	return left, nil
}
