package bootstrap

import (
	"context"
	"errors"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
)

// goneTimeout is how long a provider may take to say that there is nothing of a cluster.
const goneTimeout = 30 * time.Second

// IsGone says that nothing of the cluster exists, so that nobody has to be asked before Down: a Down after it removes nothing,
// whatever has come meanwhile. It is false where that is not known.
func (j *Job) IsGone(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, goneTimeout)
	defer cancel()
	if _, err := j.tools.Provider.Find(ctx, j.ref()); !errors.Is(err, providers.ErrNotFound) {
		return false
	}
	left, err := j.tools.Provider.Leftovers(ctx, j.ref())
	j.gone = err == nil && len(left) == 0
	return j.gone
}

// cameBack is the fault of a cluster that nobody was asked about.
func (j *Job) cameBack() error {
	return fault.New(fault.Refused, "somebody has made it just now").On("cluster %s", j.ref()).WithHint("run the command again if it is to be removed")
}
