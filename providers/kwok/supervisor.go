package kwok

import (
	"context"
	"sync"

	"github.com/rekindle-dev/rekindle/providers/kwok/supervise"
)

// Supervise runs the processes of the cluster whose folder is given, and ends namespaces that are
// stuck for want of a process behind an aggregated API, until the cluster is deleted or ctx is done.
// It is what the command of Options.Supervisor calls, and nobody else.
func Supervise(ctx context.Context, folder string) error {
	finishing, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { finishNamespaces(finishing, folder) })
	err := supervise.Run(ctx, folder)
	stop()
	wg.Wait()
	return err
}
