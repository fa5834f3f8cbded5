package kind

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

// pullsAtOnce leaves the machine to kubeadm, which waits most of its time.
const pullsAtOnce = 2

// booting is what kind says when the node's container runtime is configured and kubeadm begins.
const booting = "kind: starting control-plane"

// prefetch has a node pull the images that it will need while kind boots the control plane on it. It is only
// done for a single node, which is sure to need them all, and it is help, not a promise: an image that
// cannot be pulled now (its credentials are in the cluster's Secrets, say) is left to the kubelet.
//
// It gives the progress to be told to kind's creation, by which it knows when to begin, and a function that
// ends it.
func (p *Provider) prefetch(ctx context.Context, s providers.Spec, cfg *v1alpha4.Cluster, progress plan.Progress) (plan.Progress, func()) {
	if len(cfg.Nodes) > 1 || len(s.Images) == 0 {
		return progress, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var pulled atomic.Int64
	var once sync.Once
	done := make(chan struct{})
	begin := func() {
		go func() {
			defer close(done)
			var group errgroup.Group
			group.SetLimit(pullsAtOnce)
			for _, image := range s.Images {
				group.Go(func() error {
					if _, err := p.runtime.run(ctx, "exec", s.Name+"-control-plane", "crictl", "pull", image); err == nil {
						pulled.Add(1)
					}
					return nil
				})
			}
			_ = group.Wait() // no pull is an error
		}()
	}
	told := func(u plan.Update) {
		if u.Waiting == booting {
			once.Do(begin)
		}
		if progress != nil {
			progress(u)
		}
	}
	return told, func() {
		cancel()
		once.Do(func() { close(done) })
		<-done
		if n := pulled.Load(); n > 0 {
			progress.Note(fmt.Sprintf("%d of %s pulled while it booted", n, plan.Count(len(s.Images), "image")))
		}
	}
}
