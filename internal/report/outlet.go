package report

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// patience is how long a run that is to end waits for an output that stalls.
	patience = time.Second
	// mostBehind is how much is kept, in bytes, for an output that may go on again. What is more is dropped.
	mostBehind = 1 << 20
)

// outlet is an output that may stall: a terminal that was stopped, a pipe whose reader hangs. A write waits until it
// is through, so that a run does not get ahead of its telling. A run that is to end must not wait for ever: once hurry
// is closed, a write that is not through in time goes on by itself, and those after it queue up behind it.
//
// Its methods are not for several goroutines at once.
type outlet struct {
	to    io.Writer
	hurry <-chan struct{}

	last   chan struct{} // closed when all that was given is through
	behind atomic.Int64  // bytes that are not
	lost   atomic.Pointer[error]
}

func newOutlet(to io.Writer, hurry <-chan struct{}) *outlet {
	o := &outlet{to: to, hurry: hurry, last: make(chan struct{})}
	close(o.last)
	return o
}

// Write never fails: see [Reporter.print].
func (o *outlet) Write(p []byte) (int, error) {
	late := !o.through()
	if late && o.behind.Load() > mostBehind {
		return len(p), nil
	}
	before, done, text := o.last, make(chan struct{}), bytes.Clone(p)
	o.last = done
	o.behind.Add(int64(len(text)))
	go func() { // of its own, as nothing ends a write that is stuck
		defer close(done)
		<-before
		if _, err := o.to.Write(text); err != nil && !errors.Is(err, syscall.EPIPE) {
			o.lost.CompareAndSwap(nil, &err)
		}
		o.behind.Add(-int64(len(text)))
	}()
	if !late {
		o.wait()
	}
	return len(p), nil
}

// failure is why something that was given is lost, as on a disk that is full. That nobody reads it any more is none.
func (o *outlet) failure() error {
	if err := o.lost.Load(); err != nil {
		return *err
	}
	return nil
}

// wait waits until all is through, or for as long as there is patience.
func (o *outlet) wait() {
	select {
	case <-o.last:
		return
	case <-o.hurry:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-o.last:
	case <-timer.C:
	}
}

func (o *outlet) through() bool {
	select {
	case <-o.last:
		return true
	default:
		return false
	}
}
