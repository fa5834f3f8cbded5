package operate

import (
	"cmp"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate"
)

// Restoring brings back what documents keep in their backup repository: the set at, an ID or a time, or else the newest
// complete one. With force, what the volumes have is overwritten.
func Restoring(docs *config.Documents, repository *state.Repository, at string, force bool) migrate.RebuildOptions {
	image := cmp.Or(docs.Cluster.Spec.State.Image, volumes.DefaultImage)
	return migrate.RebuildOptions{
		Sets: repository, At: at, Force: force, PutBack: volumes.PutBack, Images: []string{image},
		Restorer: func(c *kube.Client, access state.Access, set *state.Manifest) migrate.Restorer {
			return &volumes.Mover{Client: c, Access: access, Image: image, Set: set.ID, Cluster: set.Cluster}
		},
	}
}
