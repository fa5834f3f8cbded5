package gke

import (
	"context"
	"errors"

	"cloud.google.com/go/container/apiv1/containerpb"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
)

// Preflight implements providers.Provider: the settings, the credentials, that the API is enabled and lets them in,
// and into Compute Engine, the version, the name, and the quotas as far as they can be seen.
func (p *Provider) Preflight(ctx context.Context, s providers.Spec) error {
	bad := p.check(s)
	a, err := p.connect(ctx)
	if err != nil {
		return fault.Join(bad, err)
	}
	defer a.close()
	if _, _, err := p.tokens.get(ctx); err != nil {
		return fault.Join(bad, err)
	}
	at := p.place(providers.Ref{Name: s.Name})
	if at.project == "" || at.location == "" {
		return bad
	}
	if !goodName(s.Name) {
		_, err := p.resolveVersion(ctx, a, at, s.Version)
		return fault.Join(bad, err)
	}
	c, err := lookUp(ctx, a, at)
	switch {
	case errors.Is(err, providers.ErrNotFound):
		_, err := p.resolveVersion(ctx, a, at, s.Version)
		return fault.Join(bad, p.canBeHeld(at), err, p.room(ctx, at))
	case err != nil:
		return fault.Join(bad, err)
	case !ours(c):
		return fault.Join(foreign(at), bad)
	case c.GetStatus() == containerpb.Cluster_STOPPING: // what it takes of the quotas is free when it is made again
		_, err := p.resolveVersion(ctx, a, at, s.Version)
		return fault.Join(bad, p.canBeHeld(at), err, p.mayLook(ctx, at))
	}
	return fault.Join(bad, p.compare(at, c), newEnough(at, c, s.Version), p.mayLook(ctx, at))
}

// canBeHeld refuses to make an Autopilot cluster. Google manages its namespace kube-system, and lets nobody else write there ("denied by
// managed-namespaces-limitation"): the lease by which two runs are kept apart would be refused when the cluster is there and paid for.
func (p *Provider) canBeHeld(at place) error {
	if !p.settings.Autopilot {
		return nil
	}
	return fault.New(fault.Usage, "spec.provider.gke.autopilot: nobody but Google may write to the namespace kube-system of an Autopilot cluster, where rekindle keeps the lease of a run").
		On("cluster %s", at.ref()).WithHint("declare nodePools instead")
}
