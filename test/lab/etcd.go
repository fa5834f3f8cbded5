package lab

import (
	"context"
	"errors"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// etcd is the one that simulated clusters run on.
func (l *Lab) etcd(ctx context.Context, cache *assets.Cache, p plan.Progress) (string, error) {
	for _, a := range kwok.Assets() {
		if a.Name == "etcd" {
			return cache.Get(ctx, a, p)
		}
	}
	return "", errors.New("the kwok provider has no etcd")
}
