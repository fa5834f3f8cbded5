package kind

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/kind/pkg/cluster"
	kindexec "sigs.k8s.io/kind/pkg/exec"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
)

// Ensure makes the cluster, adopts ours, or remakes one of ours that is half-made.
func (p *Provider) Ensure(ctx context.Context, s providers.Spec, progress plan.Progress) (*providers.Cluster, error) {
	cfg, err := p.check(s)
	if err != nil {
		return nil, err
	}
	hash, err := p.settings.hash()
	if err != nil {
		return nil, err
	}
	var c *providers.Cluster
	err = exclusively(ctx, s.Name, progress, func() error {
		var err error
		c, err = p.ensure(ctx, s, cfg, hash, progress)
		return err
	})
	return c, err
}

// ensure is Ensure for whoever holds the lock.
func (p *Provider) ensure(ctx context.Context, s providers.Spec, cfg *v1alpha4.Cluster, hash string, progress plan.Progress) (*providers.Cluster, error) {
	c, err := p.try(ctx, s, cfg, hash, progress)
	if isTaken(err) {
		// A container came after we had looked: one that a killed run had asked for, or somebody's. The next look tells.
		c, err = p.try(ctx, s, cfg, hash, progress)
	}
	return c, err
}

// try looks at what there is of the cluster, and does what is missing.
func (p *Provider) try(ctx context.Context, s providers.Spec, cfg *v1alpha4.Cluster, hash string, progress plan.Progress) (*providers.Cluster, error) {
	ref := providers.Ref{Provider: Name, Name: s.Name}
	nodes, err := p.runtime.list(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	m, err := owner(nodes)
	halfMade := err == nil
	switch {
	case errors.Is(err, providers.ErrNotOwned):
		return nil, refuseForeign(ref)
	case halfMade:
		c, err := p.adopt(ctx, s, m, nodes, hash, progress)
		if c != nil || err != nil {
			return c, err
		}
	}
	if err := imagesFit(cfg, s); err != nil {
		return nil, err
	}
	outcome := plan.Changed
	if halfMade {
		progress.Note("an earlier run left it incomplete: creating it again")
		if err := p.remove(ctx, ref, progress); err != nil {
			return nil, err
		}
		outcome = plan.Adopted
	}
	if err := p.pull(ctx, cfg, progress); err != nil {
		return nil, err
	}
	p.warnOfInotify(ctx, cfg, progress)
	progress, endPrefetch := p.prefetch(ctx, s, cfg, progress)
	defer endPrefetch()
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

// isTaken recognises that the name of a container is in use, as docker and podman say it, or that of the cluster, as kind does.
func isTaken(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "is already in use by ") || strings.Contains(err.Error(), "already exist for a cluster with the name"))
}

func refuseForeign(ref providers.Ref) error {
	return fault.Wrap(providers.ErrNotOwned, fault.Refused, "left unchanged").On("cluster %s", ref).
		WithHint("choose another metadata.name, or remove it yourself: kind delete cluster --name %s", ref.Name)
}

// adopt takes a complete cluster of ours as it is, starting its containers when they are stopped. It
// returns nil without an error for one that is half-made, and only for one that says so itself: the caller removes it.
func (p *Provider) adopt(ctx context.Context, s providers.Spec, m *mark, nodes []container, hash string, progress plan.Progress) (*providers.Cluster, error) {
	ref := providers.Ref{Provider: Name, Name: s.Name}
	nodes, outcome, err := p.startStopped(ctx, ref, nodes, progress)
	if err != nil {
		return nil, err
	}
	control := controlPlane(nodes)
	if control == nil {
		return nil, nil // its creation was killed before there was one
	}
	version, made, err := p.made(ctx, control)
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "its container %s cannot be inspected; nothing was changed", control.Name).On("cluster %s", ref).
			WithHint("see why: %[1]s logs %[2]s, %[1]s inspect %[2]s. If the cluster is lost: rekindle down, then rekindle up", p.runtime.command, control.Name)
	}
	if !made {
		return nil, nil
	}
	c, err := p.complete(s.Name, m, version)
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "its API server cannot be reached").On("cluster %s", ref).
			WithHint("see whether its container has lost its network: %[1]s inspect %[2]s. If the cluster is lost: rekindle down, then rekindle up", p.runtime.command, control.Name)
	}
	if m.hash != hash {
		return nil, fault.New(fault.Refused, "was made from another kind configuration, and kind cannot change one").On("cluster %s", ref).
			WithHint("go back to the old configuration, or take the cluster down and up again")
	}
	if err := p.ready(ctx, c, nodes, s, outcome == plan.Adopted, progress); err != nil {
		return nil, err
	}
	c.Outcome = outcome
	return c, nil
}

// startStopped starts a cluster's containers that are stopped or paused, and gives all as they are then.
func (p *Provider) startStopped(ctx context.Context, ref providers.Ref, nodes []container, progress plan.Progress) ([]container, plan.Outcome, error) {
	outcome := plan.Unchanged
	for _, n := range nodes {
		act, is := "start", "stopped"
		if n.Paused {
			act, is = "unpause", "paused"
		} else if n.Running {
			continue
		}
		outcome = plan.Adopted
		progress.Note(fmt.Sprintf("starting the %s container %s", is, n.Name))
		if _, err := p.runtime.run(ctx, act, n.Name); err != nil {
			return nil, "", fault.Wrap(err, fault.Failed, "start its container").On("cluster %s", ref).
				WithHint("see why: %s logs %s. If the cluster is lost: rekindle down, then rekindle up", p.runtime.command, n.Name)
		}
	}
	if outcome == plan.Unchanged {
		return nodes, outcome, nil
	}
	nodes, err := p.runtime.list(ctx, ref.Name)
	return nodes, outcome, err
}

// create runs kind's own creation. It cannot be cancelled: when ctx ends, the containers are removed
// under it until it has returned. When it fails, the network goes too that came with it: no mark tells of that any more.
func (p *Provider) create(ctx context.Context, s providers.Spec, cfg *v1alpha4.Cluster, hash string, progress plan.Progress) error {
	existed, _, err := p.runtime.hasNetwork(ctx)
	if err != nil {
		return err
	}
	err = p.createMarked(ctx, s, cfg, hash, !existed, progress)
	if err != nil && !existed {
		err = fault.Join(err, p.leaveNetwork(context.WithoutCancel(ctx)))
	}
	return err
}

// createMarked is create; brings says that kind's network does not exist yet.
func (p *Provider) createMarked(ctx context.Context, s providers.Spec, cfg *v1alpha4.Cluster, hash string, brings bool, progress plan.Progress) error {
	m := mark{hash: hash, run: s.Run, network: brings, created: p.now()}
	if s.TTL > 0 {
		m.expires = m.created.Add(s.TTL)
	}
	dir, err := scratch(s.Name)
	if err != nil {
		return fmt.Errorf("a folder for kind's kubeconfig: %w", err)
	}
	done := make(chan error, 1)
	go func() {
		done <- p.library(&logger{progress: progress}).Create(s.Name,
			cluster.CreateWithV1Alpha4Config(marked(cfg, m)),
			cluster.CreateWithKubeconfigPath(filepath.Join(dir, "kubeconfig")),
			cluster.CreateWithDisplayUsage(false), cluster.CreateWithDisplaySalutation(false))
	}()
	select {
	case err := <-done:
		return p.createFault(ctx, s.Name, err)
	case <-ctx.Done():
		return p.abort(ctx, s.Name, done)
	}
}

// abort removes what kind makes until it gives up. It goes on after the end of ctx: what was begun is
// taken away before the caller hears of it. A cluster that somebody else made of the name just before is left.
func (p *Provider) abort(ctx context.Context, name string, done <-chan error) error {
	free := context.WithoutCancel(ctx)
	clear := func() error {
		nodes, err := p.runtime.list(free, name)
		if err != nil || slices.ContainsFunc(nodes, ofOthers) {
			return err
		}
		return p.runtime.removeNodes(free, nodes)
	}
	for {
		_ = clear() // kind removes them too as it gives up; the last look counts
		select {
		case <-done:
			return fault.Join(ctx.Err(), clear())
		default:
		}
		if err := pause(free); err != nil {
			return fault.Join(ctx.Err(), err)
		}
	}
}

// pause is between two looks at what kind does while it is made to give up.
func pause(ctx context.Context) error { return wait.Sleep(ctx, 300*time.Millisecond) }

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
	f := fault.New(fault.Failed, "kind could not create it: %s", text).On("cluster kind/%s", name)
	switch {
	case strings.Contains(text, "pull") && strings.Contains(text, "image"):
		f = f.WithHint("the node image is not available: docker pull it yourself to see why, or name another in spec.provider.kind.image")
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

// finish notes that the cluster is made, and awaits its nodes. Whatever ends the wait, the next run
// goes on from here.
func (p *Provider) finish(ctx context.Context, ref providers.Ref, s providers.Spec, progress plan.Progress) (*providers.Cluster, error) {
	nodes, err := p.runtime.list(ctx, ref.Name)
	if err != nil {
		return nil, err
	}
	m, err := owner(nodes)
	if err != nil {
		return nil, fmt.Errorf("cluster %s, just made: %w", ref, err)
	}
	control := controlPlane(nodes)
	if control == nil {
		return nil, fault.New(fault.Failed, "has no control plane").On("cluster %s", ref)
	}
	if _, err := p.runtime.run(ctx, "exec", control.Name, "touch", completeFile); err != nil {
		return nil, err
	}
	c, err := p.describe(ctx, ref.Name, m, nodes)
	if err != nil {
		return nil, err
	}
	if !c.Complete {
		return nil, fault.New(fault.Failed, "its container %s cannot be reached just after it was made", control.Name).On("cluster %s", ref).
			WithHint("see why: %s logs %s", p.runtime.command, control.Name)
	}
	if err := p.ready(ctx, c, nodes, s, false, progress); err != nil {
		return nil, err
	}
	return c, nil
}
