package bootstrap

import (
	"context"
	"errors"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/stacks"
)

// vacant is a provider of no cluster, until somebody makes one.
type vacant struct {
	providers.Provider
	finds   error
	left    []providers.Resource
	deleted bool
}

func (v *vacant) Find(context.Context, providers.Ref) (*providers.Cluster, error) {
	return &providers.Cluster{}, v.finds
}

func (v *vacant) Leftovers(context.Context, providers.Ref) ([]providers.Resource, error) {
	return v.left, nil
}

func (v *vacant) Delete(context.Context, providers.Ref, plan.Progress) error {
	v.deleted = true
	return nil
}

// TestNobodyIsAskedAboutNothing, and what comes after that is not removed unasked.
func TestNobodyIsAskedAboutNothing(t *testing.T) {
	for name, c := range map[string]struct {
		is   vacant
		gone bool
	}{
		"nothing is there":        {vacant{finds: providers.ErrNotFound}, true},
		"something is left":       {vacant{finds: providers.ErrNotFound, left: []providers.Resource{{Kind: "disk"}}}, false},
		"the cluster is there":    {vacant{}, false},
		"that of somebody else":   {vacant{finds: providers.ErrNotOwned}, false},
		"nobody could look there": {vacant{finds: errors.New("no access")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := &c.is
			j := &Job{docs: &config.Documents{Cluster: &config.Cluster{}}, stack: &stacks.Stack{}, name: "x", tools: Tools{Provider: p}}
			if gone := j.IsGone(t.Context()); gone != c.gone {
				t.Fatalf("gone: %t", gone)
			}
			if _, err := j.deleteCluster().Do(t.Context(), nil); err != nil || p.deleted == c.gone {
				t.Errorf("%v, removed unasked: %t", err, p.deleted)
			}
			p.finds = nil
			if _, err := j.findOwned().Do(t.Context(), nil); c.gone != (fault.Code(err) == fault.ExitRefused) {
				t.Errorf("one that was made just now: %v", err)
			}
		})
	}
}
