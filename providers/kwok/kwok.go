package kwok

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/folders"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/supervise"
)

// Name of the provider in a Ref.
const Name = "kwok"

// Options are the settings of the provider.
type Options struct {
	// Nodes is the number of simulated nodes; default 1, and none when negative: whoever makes the cluster
	// adds its own, which are simulated all the same.
	Nodes int
	// State is the folder that holds the clusters; default $XDG_STATE_HOME/rekindle, or else
	// ~/.local/state/rekindle. Clusters of one State must not be used by two users.
	State string
	// AssetsDir is the cache of programs; default as assets.Open has it.
	AssetsDir string
	// Supervisor is the command that calls [Supervise] with the folder that is appended to it;
	// default is this very program with the argument "supervise".
	Supervisor []string
}

// Provider makes clusters on this machine. Its methods may be called from several goroutines and
// several processes.
type Provider struct {
	nodes      int
	state      state
	cache      *assets.Cache
	supervisor []string
}

var (
	_ providers.Provider   = (*Provider)(nil)
	_ providers.HostRunner = (*Provider)(nil)
	_ providers.Simulation = (*Provider)(nil)
	_ providers.Versioned  = (*Provider)(nil)
	_ providers.Foreseer   = (*Provider)(nil)
)

// New makes the provider.
func New(o Options) (*Provider, error) {
	cache, err := assets.Open(o.AssetsDir)
	if err != nil {
		return nil, err
	}
	if o.State == "" {
		if o.State, err = folders.State(); err != nil {
			return nil, err
		}
	}
	if len(o.Supervisor) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		o.Supervisor = []string{self, "supervise"}
	}
	if o.Nodes == 0 {
		o.Nodes = 1
	}
	return &Provider{nodes: max(o.Nodes, 0), state: state(o.State), cache: cache, supervisor: o.Supervisor}, nil
}

// Simulated is always true.
func (p *Provider) Simulated() bool { return true }

// KubernetesVersion is the one of this build.
func (p *Provider) KubernetesVersion() string { return KubernetesVersion }

// check finds faults in what is wanted.
func (p *Provider) check(s providers.Spec) error {
	var faults []error
	if !config.IsName(s.Name) {
		faults = append(faults, fault.New(fault.Usage, "%q is not a valid cluster name", s.Name).
			WithHint("use %s", config.NameRule))
	}
	if !providers.Fits(KubernetesVersion, s.Version) {
		faults = append(faults, fault.New(fault.Usage, "kwok runs Kubernetes %s, not %s", KubernetesVersion, s.Version).
			On("cluster %s", s.Name).
			WithHint("set kubernetes.version to %s, or leave it out", strings.TrimPrefix(KubernetesVersion, "v")))
	}
	return fault.Join(faults...)
}

// Preflight implements providers.Provider. Programs that are missing are no fault: Ensure gets them.
func (p *Provider) Preflight(ctx context.Context, s providers.Spec) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.check(s); err != nil {
		return err
	}
	m, err := p.state.readMark(s.Name)
	switch {
	case errors.Is(err, providers.ErrNotFound):
		return p.state.room()
	case err != nil:
		return p.refuse(err, s.Name)
	}
	return p.compare(m, s)
}

// compare refuses what cannot be changed in a cluster that exists.
func (p *Provider) compare(m mark, s providers.Spec) error {
	if m.Hash == specHash() {
		return nil
	}
	return fault.New(fault.Refused, "was made with Kubernetes %s and other settings of this provider, which cannot be changed", m.Version).
		On("cluster %s", p.ref(s.Name)).
		WithHint("run rekindle down, and then up again")
}

// specHash covers what a cluster cannot change: the versions of its programs and the layout of its
// folder. The number of nodes is not part of it.
func specHash() string { return hashOf("1", KubernetesVersion, etcdVersion, kwokVersion) }

func (p *Provider) ref(name string) providers.Ref { return providers.Ref{Provider: Name, Name: name} }

// refuse explains why a folder is not touched.
func (p *Provider) refuse(err error, name string) error {
	if !errors.Is(err, providers.ErrNotOwned) {
		return err
	}
	return fault.Wrap(err, fault.Refused, "%s is not touched", p.state.cluster(name)).
		On("cluster %s", p.ref(name)).
		WithHint("choose another name, or move that folder away")
}

func (p *Provider) folder(name string) supervise.Folder {
	return supervise.Folder{Path: p.state.cluster(name), Argv: p.supervisor}
}

// Find implements providers.Provider.
func (p *Provider) Find(ctx context.Context, r providers.Ref) (*providers.Cluster, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !config.IsName(r.Name) {
		return nil, providers.ErrNotFound
	}
	m, err := p.state.readMark(r.Name)
	if err != nil {
		return nil, err
	}
	alive, err := p.folder(r.Name).Alive()
	if err != nil {
		return nil, err
	}
	return p.describe(m, m.Ready && alive)
}

// describe makes a Cluster of a mark.
func (p *Provider) describe(m mark, complete bool) (*providers.Cluster, error) {
	c := &providers.Cluster{
		Ref: p.ref(m.Cluster), Version: m.Version, Hash: m.Hash,
		Created: m.Created, Expires: m.Expires, Run: m.Run, Complete: complete,
	}
	if !complete {
		return c, nil
	}
	folder := p.state.cluster(m.Cluster)
	at, err := readPorts(folder + "/" + portsFile)
	if err != nil {
		return nil, err
	}
	if c.Kubeconfig, err = kubeconfig(folder, m.Cluster, "admin", at[portAPI]); err != nil {
		return nil, err
	}
	c.REST, err = restConfig(c.Kubeconfig)
	return c, err
}

// List implements providers.Provider.
func (p *Provider) List(ctx context.Context) ([]*providers.Cluster, error) {
	names, err := p.state.names()
	if err != nil {
		return nil, err
	}
	var list []*providers.Cluster
	for _, name := range names {
		c, err := p.Find(ctx, p.ref(name))
		if errors.Is(err, providers.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// Delete implements providers.Provider.
func (p *Provider) Delete(ctx context.Context, r providers.Ref, progress plan.Progress) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !config.IsName(r.Name) {
		return nil // there can be none
	}
	return p.state.exclusively(ctx, r.Name, progress, func() error {
		_, err := p.state.readMark(r.Name)
		switch {
		case errors.Is(err, providers.ErrNotFound):
			return p.state.sweep(r.Name)
		case err != nil:
			return p.refuse(err, r.Name)
		}
		return p.remove(ctx, r.Name, progress)
	})
}

// remove ends a cluster's processes and takes its folder away. The caller has exclusive use of it.
func (p *Provider) remove(ctx context.Context, name string, progress plan.Progress) error {
	if err := p.folder(name).Stop(ctx, progress); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Rename(p.state.cluster(name), p.state.trash(name)); err != nil {
		return err
	}
	return p.state.sweep(name)
}

// Leftovers implements providers.Provider.
func (p *Provider) Leftovers(ctx context.Context, r providers.Ref) ([]providers.Resource, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	paths, err := p.state.remains(r.Name)
	var list []providers.Resource
	for _, path := range paths {
		list = append(list, providers.Resource{Kind: "folder", Name: path, Remove: "rm -rf '" + strings.ReplaceAll(path, "'", `'\''`) + "'"})
	}
	return list, err
}

// AuditLog is the path of the API server's audit log of a cluster: one JSON event a line for each write but
// those of leases.
func (p *Provider) AuditLog(r providers.Ref) string {
	return p.state.cluster(r.Name) + "/" + auditName
}

// HostLogs is the folder of the logs of a cluster's processes.
func (p *Provider) HostLogs(r providers.Ref) string {
	return filepath.Dir(p.folder(r.Name).Log("any"))
}
