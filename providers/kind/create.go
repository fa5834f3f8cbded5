package kind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/kind/pkg/cluster"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// Ensure makes the cluster, adopts ours, or remakes one of ours that is half-made.
func (p *Provider) Ensure(ctx context.Context, s providers.Spec, progress plan.Progress) (*providers.Cluster, error) {
	cfg, err := p.settings.effective()
	if err != nil {
		return nil, err
	}
	hash, err := hashOf(cfg)
	if err != nil {
		return nil, err
	}
	ref := providers.Ref{Provider: Name, Name: s.Name}
	nodes, err := p.runtime.list(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	outcome := plan.Changed
	if m, err := owner(nodes); err == nil {
		c, err := p.adopt(ctx, s, m, nodes, hash, progress)
		if c != nil || err != nil {
			return c, err
		}
		progress.Note("an earlier run left it half-made: it is made anew")
		if err := p.Delete(ctx, ref, progress); err != nil {
			return nil, err
		}
		outcome = plan.Adopted
	} else if errors.Is(err, providers.ErrNotOwned) {
		return nil, refuseForeign(ref)
	}
	if err := p.create(ctx, s, cfg, hash, progress); err != nil {
		return nil, err
	}
	c, err := p.finish(ctx, ref, s, progress)
	if err != nil {
		return nil, err
	}
	c.Outcome = outcome
	return c, nil
}

func refuseForeign(ref providers.Ref) error {
	return fault.Wrap(providers.ErrNotOwned, fault.Refused, "it was left untouched").On("cluster %s", ref).
		WithHint("choose another metadata.name, or remove it yourself: kind delete cluster --name %s", ref.Name)
}

// adopt takes a complete cluster of ours as it is, starting its containers when they are stopped. It
// returns nil without an error for one that is half-made.
func (p *Provider) adopt(ctx context.Context, s providers.Spec, m *mark, nodes []container, hash string, progress plan.Progress) (*providers.Cluster, error) {
	ref := providers.Ref{Provider: Name, Name: s.Name}
	outcome := plan.Unchanged
	for _, n := range nodes {
		if n.Running {
			continue
		}
		outcome = plan.Adopted
		progress.Note("starting the stopped container " + n.Name)
		if _, err := p.runtime.run(ctx, "start", n.Name); err != nil {
			return nil, fault.Wrap(err, fault.Failed, "start its container").On("cluster %s", ref)
		}
	}
	if outcome == plan.Adopted {
		started, err := p.runtime.list(ctx, s.Name)
		if err != nil {
			return nil, err
		}
		nodes = started
	}
	c, err := p.describe(ctx, s.Name, m, nodes)
	if err != nil || !c.Complete {
		return nil, err
	}
	if m.hash != hash {
		return nil, fault.New(fault.Refused, "it was made from another kind configuration, and kind can not change one").On("cluster %s", ref).
			WithHint("go back to the old configuration, or take the cluster down and up again")
	}
	if err := p.ready(ctx, c, s, progress); err != nil {
		return nil, err
	}
	c.Outcome = outcome
	return c, nil
}

// create runs kind's own creation. It can not be cancelled: when ctx ends, the containers are removed
// under it until it has returned.
func (p *Provider) create(ctx context.Context, s providers.Spec, cfg *v1alpha4.Cluster, hash string, progress plan.Progress) error {
	existed, _, err := p.runtime.hasNetwork(ctx)
	if err != nil {
		return err
	}
	m := mark{hash: hash, run: s.Run, network: !existed, created: p.now()}
	if s.TTL > 0 {
		m.expires = m.created.Add(s.TTL)
	}
	dir, err := os.MkdirTemp("", "rekindle-kind-")
	if err != nil {
		return fmt.Errorf("a folder for kind's kubeconfig: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	done := make(chan error, 1)
	go func() {
		done <- p.library(&logger{progress: progress}).Create(s.Name,
			cluster.CreateWithV1Alpha4Config(marked(cfg, m)),
			cluster.CreateWithKubeconfigPath(filepath.Join(dir, "kubeconfig")),
			cluster.CreateWithDisplayUsage(false), cluster.CreateWithDisplaySalutation(false))
	}()
	select {
	case err = <-done:
		return p.createFault(ctx, s.Name, err)
	case <-ctx.Done():
		return p.abort(ctx, s.Name, done)
	}
}

// abort removes what kind makes until it gives up.
func (p *Provider) abort(ctx context.Context, name string, done <-chan error) error {
	cause, free := ctx.Err(), context.WithoutCancel(ctx)
	for {
		nodes, err := p.runtime.list(free, name)
		if err == nil {
			err = p.runtime.removeNodes(free, nodes)
		}
		select {
		case <-done:
			nodes, listErr := p.runtime.list(free, name)
			return fault.Join(cause, err, listErr, p.runtime.removeNodes(free, nodes))
		default:
		}
		if pauseErr := pause(free); pauseErr != nil {
			return fault.Join(cause, pauseErr)
		}
	}
}

// createFault makes kind's error one that a person can act on, with what its last command printed.
func (p *Provider) createFault(ctx context.Context, name string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text := err.Error()
	if run := kindexec.RunErrorForError(err); run != nil {
		text += "\n" + lastLines(string(run.Output), 15)
	}
	f := fault.New(fault.Failed, "kind could not make it: %s", text).On("cluster kind/%s", name)
	switch {
	case strings.Contains(text, "pull") && strings.Contains(text, "image"):
		f = f.WithHint("the node image can not be had: docker pull it yourself to see why, or name another in spec.provider.kind.image")
	case strings.Contains(text, "no space left"):
		f = f.WithHint("the disk is full: docker system df shows what takes the space")
	case strings.Contains(text, "port is already allocated"), strings.Contains(text, "address already in use"):
		f = f.WithHint("another process has that port: change extraPortMappings, or end it")
	}
	return f
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// finish awaits the nodes and marks the cluster complete.
func (p *Provider) finish(ctx context.Context, ref providers.Ref, s providers.Spec, progress plan.Progress) (*providers.Cluster, error) {
	nodes, err := p.runtime.list(ctx, ref.Name)
	if err != nil {
		return nil, err
	}
	m, err := owner(nodes)
	if err != nil {
		return nil, fmt.Errorf("cluster %s, just made: %w", ref, err)
	}
	c := &providers.Cluster{Ref: ref, Hash: m.hash, Run: m.run, Created: m.created, Expires: m.expires, Complete: true}
	if err := p.access(c); err != nil {
		return nil, err
	}
	if err := p.ready(ctx, c, s, progress); err != nil {
		return nil, err
	}
	control := controlPlane(nodes)
	if control == nil {
		return nil, fault.New(fault.Failed, "it has no control plane").On("cluster %s", ref)
	}
	if _, err := p.runtime.run(ctx, "exec", control.Name, "touch", completeFile); err != nil {
		return nil, err
	}
	return c, nil
}
