package stacks

import (
	"context"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// Differences tells in what the objects of an installed release are not as its chart renders, and how many there are.
// It changes nothing.
func (r *Release) Differences(ctx context.Context, c *kube.Client, w *kube.Watcher) (found []kube.Difference, compared int, err error) {
	s, err := helm.Look(ctx, c, w, r.wanted())
	if err != nil {
		return nil, 0, err
	}
	if !s.Deployed || !s.Same {
		return nil, 0, fault.New(fault.Failed, "is not installed as declared").On("release %s", r.Name)
	}
	return s.Different, len(s.Objects), nil
}
