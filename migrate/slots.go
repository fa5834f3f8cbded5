package migrate

import (
	"context"
	"slices"
	"sync"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// parallel is how many claims are filled at once: each has a mover in the cluster, with its memory.
const parallel = 4

// slots lets so many work at once, and of those that wait the most urgent one first.
type slots struct {
	mu      sync.Mutex
	free    int
	waiting []*turn // the most urgent first
}

type turn struct {
	priority int
	come     chan struct{}
}

func newSlots(n int) *slots { return &slots{free: n} }

// take waits for a slot. The function gives it back.
func (s *slots) take(ctx context.Context, priority int, p plan.Progress) (free func(), err error) {
	t := s.queue(priority)
	select {
	case <-t.come:
		return s.next, nil
	default:
		p.Waiting("others to be restored first")
	}
	select {
	case <-t.come:
		return s.next, nil
	case <-ctx.Done():
		s.leave(t)
		return nil, ctx.Err()
	}
}

func (s *slots) queue(priority int) *turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &turn{priority: priority, come: make(chan struct{})}
	if s.free > 0 {
		s.free--
		close(t.come)
		return t
	}
	at := slices.IndexFunc(s.waiting, func(o *turn) bool { return o.priority < priority })
	if at < 0 {
		at = len(s.waiting)
	}
	s.waiting = slices.Insert(s.waiting, at, t)
	return t
}

// next hands a slot on.
func (s *slots) next() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.free++
		return
	}
	close(s.waiting[0].come)
	s.waiting = s.waiting[1:]
}

// leave gives up a turn, or the slot if it has come meanwhile.
func (s *slots) leave(t *turn) {
	s.mu.Lock()
	at := slices.Index(s.waiting, t)
	if at >= 0 {
		s.waiting = slices.Delete(s.waiting, at, at+1)
	}
	s.mu.Unlock()
	if at < 0 {
		s.next()
	}
}
