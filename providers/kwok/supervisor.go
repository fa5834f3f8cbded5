package kwok

import (
	"context"

	"github.com/rekindle-dev/rekindle/providers/kwok/supervise"
)

// Supervise runs the processes of the cluster whose folder is given until the cluster is deleted or
// ctx is done. It is what the command of Options.Supervisor calls, and nobody else.
func Supervise(ctx context.Context, folder string) error {
	return supervise.Run(ctx, folder)
}
