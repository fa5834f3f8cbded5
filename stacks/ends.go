package stacks

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// ends waits for the Jobs of a release that the cluster takes away once they have ended, from before they are made: who looks for
// one afterwards may find that it is gone, be it complete or failed.
type ends struct {
	ctx     context.Context // of the release
	waits   context.Context // ends with it, or when nobody waits any more; Helm, while which they begin, has no place for one
	release *Release
	watcher *kube.Watcher
	p       plan.Progress

	mu      sync.Mutex
	begun   map[kube.Ref]chan error // one error or nil comes, when its wait is over
	running sync.WaitGroup
}

// watchEnds makes one. Its waits have ended when done returns.
func (r *Release) watchEnds(ctx context.Context, w *kube.Watcher, p plan.Progress) (e *ends, done func()) {
	waits, cancel := context.WithCancel(ctx)
	e = &ends{ctx: ctx, waits: waits, release: r, watcher: w, p: p, begun: map[kube.Ref]chan error{}}
	return e, func() {
		cancel()
		e.running.Wait()
	}
}

// watch begins to wait for those of the objects that are about to be made and go by themselves. One that is held back is not
// waited for.
func (e *ends) watch(objs []*unstructured.Unstructured) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, obj := range objs {
		ref := kube.RefOf(obj)
		if !kube.GoesByItself(obj) || e.begun[ref] != nil || len(e.release.provable([]kube.Ref{ref})) == 0 {
			continue
		}
		over := make(chan error, 1)
		e.begun[ref] = over
		e.running.Add(1)
		go func() {
			defer e.running.Done()
			over <- e.watcher.Until(e.waits, ref, "complete", made, e.p)
		}()
	}
}

// await waits until one of them is complete. recorded says that an earlier run has seen all of them so.
func (e *ends) await(ctx context.Context, ref kube.Ref, recorded bool) error {
	e.mu.Lock()
	over := e.begun[ref]
	e.mu.Unlock()
	if over == nil { // nothing was applied
		return e.watcher.Until(ctx, ref, "complete", endOf(recorded), e.p)
	}
	select {
	case err := <-over:
		return err
	case <-ctx.Done():
		if e.ctx.Err() != nil { // the wait ends with it, too, and says what was missing
			return <-over
		}
		return ctx.Err()
	}
}

// made judges an object that is about to be made.
func made(state *unstructured.Unstructured) kube.Health {
	if state == nil {
		return kube.Health{Message: "does not exist yet"}
	}
	return kube.EndOf(state)
}

// endOf judges one that was there a moment ago, and may be gone by now.
func endOf(recorded bool) kube.Judge {
	if recorded {
		return kube.DoneOrGone
	}
	return kube.DoneIfSeen
}
