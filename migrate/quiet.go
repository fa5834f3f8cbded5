package migrate

import (
	"context"
	"sync"

	"github.com/rekindle-dev/rekindle/internal/wait"
)

// onTheWay tells when no data is on its way.
type onTheWay struct {
	mu      sync.Mutex
	due     map[*claim]bool // the claims that are sure to come, and whose step has not ended
	filling int             // claims that exist, known or not, and wait for their data or get it
	quiet   chan struct{}   // closed while there is none of either
	calm    chan struct{}   // closed while there is none of the second
}

// Quiet is closed when the step of each known claim has ended, one way or the other, and no other claim is being filled. When one
// is after that, it is another channel, which is open.
func (r *Rebuild) Quiet() <-chan struct{} {
	r.way.mu.Lock()
	defer r.way.mu.Unlock()
	return r.way.quiet
}

// calm is closed when no claim is being filled, as Quiet.
func (r *Rebuild) calm() <-chan struct{} {
	r.way.mu.Lock()
	defer r.way.mu.Unlock()
	return r.way.calm
}

// change changes what is on the way, and says so.
func (w *onTheWay) change(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
	setClosed(&w.calm, w.filling == 0)
	setClosed(&w.quiet, w.filling == 0 && len(w.due) == 0)
}

// setClosed closes a channel, or puts an open one in its place.
func setClosed(c *chan struct{}, closed bool) {
	select {
	case <-*c:
		if !closed {
			*c = make(chan struct{})
		}
	default:
		if closed {
			close(*c)
		}
	}
}

// fills counts a claim as being filled until the function is called.
func (w *onTheWay) fills() (end func()) {
	w.change(func() { w.filling++ })
	return func() { w.change(func() { w.filling-- }) }
}

// appears bounds how long a claim is waited for. What makes it may need what is being filled: the time runs when nothing is. One
// that nothing is known to make may come until all is applied, and for a moment after that, as operators take one.
func (r *Rebuild) appears(ctx context.Context, c *claim) (context.Context, func()) {
	if c.known {
		return wait.Patiently(ctx, r.calm, appearTimeout)
	}
	return wait.Patiently(ctx, func() <-chan struct{} {
		select {
		case <-r.settled:
			return r.calm()
		default:
			return r.settled
		}
	}, settleGrace)
}
