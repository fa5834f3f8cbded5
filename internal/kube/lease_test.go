package kube

import (
	"context"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	typedv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// leaseServer is the part of an API server that holds the lease.
type leaseServer struct {
	typedv1.LeaseInterface

	mu      sync.Mutex
	lease   *coordinationv1.Lease
	version int
	away    error
	ends    bool   // its holder gives it back before the next update
	writes  func() // what is written just before the next deletion
	asked   int
}

func (s *leaseServer) Get(context.Context, string, metav1.GetOptions) (*coordinationv1.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	switch {
	case s.away != nil:
		return nil, s.away
	case s.lease == nil:
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "leases"}, leaseName)
	}
	return s.lease.DeepCopy(), nil
}

func (s *leaseServer) Create(_ context.Context, l *coordinationv1.Lease, _ metav1.CreateOptions) (*coordinationv1.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease != nil {
		return nil, apierrors.NewAlreadyExists(schema.GroupResource{Resource: "leases"}, leaseName)
	}
	return s.write(l), nil
}

func (s *leaseServer) Update(_ context.Context, l *coordinationv1.Lease, _ metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away != nil {
		return nil, s.away
	}
	if s.ends {
		s.ends, s.lease = false, nil
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "leases"}, leaseName)
	}
	if l.ResourceVersion != s.lease.ResourceVersion {
		return nil, apierrors.NewConflict(schema.GroupResource{Resource: "leases"}, leaseName, errors.New("it was changed"))
	}
	return s.write(l), nil
}

func (s *leaseServer) Delete(_ context.Context, _ string, o metav1.DeleteOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writes != nil {
		s.writes()
		s.writes = nil
	}
	if *o.Preconditions.ResourceVersion != s.lease.ResourceVersion {
		return apierrors.NewConflict(schema.GroupResource{Resource: "leases"}, leaseName, errors.New("it was changed"))
	}
	s.lease = nil
	return nil
}

func (s *leaseServer) write(l *coordinationv1.Lease) *coordinationv1.Lease {
	s.version++
	s.lease = l.DeepCopy()
	s.lease.ResourceVersion = strconv.Itoa(s.version)
	return s.lease.DeepCopy()
}

// held has another run hold the lease, by the clock of its machine.
func (s *leaseServer) held(holder string, clock time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	renewed, seconds := metav1.NewMicroTime(clock), int32(15)
	s.write(&coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{
		HolderIdentity: &holder, RenewTime: &renewed, LeaseDurationSeconds: &seconds,
	}})
}

func (s *leaseServer) remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease = nil
}

func (s *leaseServer) exists() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lease != nil
}

func (s *leaseServer) holder() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return holderOf(s.lease.Spec)
}

func (s *leaseServer) renewed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lease.Spec.RenewTime.Time
}

func (s *leaseServer) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// unreachable makes the server one that answers with this error; nil brings it back.
func (s *leaseServer) unreachable(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = err
}

func thisRunOf(t *testing.T) holder {
	t.Helper()
	me, err := thisRun()
	if err != nil {
		t.Fatal(err)
	}
	return me
}

func TestOnlyALeaseWhoseHolderSurelyIsGoneIsTakenAtOnce(t *testing.T) {
	me := thisRunOf(t)
	if me.boot == "" {
		t.Skip("there is no /proc here, so nobody surely is gone")
	}
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	dead := me
	dead.pid, dead.start = strconv.Itoa(ended.Process.Pid), "1"
	change := func(h holder, f func(*holder)) string {
		f(&h)
		return h.String()
	}
	for name, c := range map[string]struct {
		holder string
		taken  bool
	}{
		"it has ended":                          {dead.String(), true},
		"another has its number":                {change(me, func(h *holder) { h.id, h.start = "other", "1" }), true},
		"it runs":                               {change(me, func(h *holder) { h.id = "other" }), false},
		"another machine of our name":           {change(dead, func(h *holder) { h.boot = "other" }), false},
		"a machine of another name":             {change(dead, func(h *holder) { h.host += "-2" }), false},
		"another container":                     {change(dead, func(h *holder) { h.namespace = "pid:[1]" }), false},
		"a system without /proc":                {change(dead, func(h *holder) { h.boot = "" }), false},
		"an older rekindle, which told no more": {me.host + "/" + dead.pid + "/abcde", false},
		"something else":                        {"somebody", false},
		"a number of many processes":            {change(dead, func(h *holder) { h.pid = "-1" }), false},
		"no number":                             {change(dead, func(h *holder) { h.pid = "x" }), false},
	} {
		t.Run(name, func(t *testing.T) {
			server := &leaseServer{}
			server.held(c.holder, time.Now())
			l := &lease{leases: server, me: me}
			other, err := l.take(t.Context(), l.blocks, true)
			if err != nil || (other == "") != c.taken || (server.holder() == me.String()) != c.taken {
				t.Errorf("%q: held by %q, %v", c.holder, other, err)
			}
		})
	}
}

// TestTheClockOfAnotherMachineDecidesNothing: a run whose clock is wrong keeps its lease while it renews it, and loses
// it when it has not for the lease's duration.
func TestTheClockOfAnotherMachineDecidesNothing(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"right": 0, "behind": -time.Hour, "ahead": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &leaseServer{}
				var last time.Time
				renew := func() {
					last = time.Now()
					server.held("far-away/7/other", last.Add(wrong))
				}
				renew()
				l := &lease{leases: server, me: thisRunOf(t)}
				var told []string
				taken := make(chan error, 1)
				go func() {
					taken <- l.await(t.Context(), func(u plan.Update) { told = append(told, u.Waiting) }, nil)
				}()
				for range 20 {
					if err := wait.Sleep(t.Context(), leaseRenewal); err != nil {
						t.Fatal(err)
					}
					if len(taken) > 0 {
						t.Fatal("a lease that is renewed was taken")
					}
					renew()
				}
				if err := <-taken; err != nil {
					t.Fatal(err)
				}
				if after := time.Since(last); after < leaseDuration || after > leaseDuration+2*time.Second {
					t.Errorf("it was taken %s after it was renewed last", after)
				}
				if len(told) != 1 || !strings.Contains(told[0], "held by the run far-away/7/other") || !strings.Contains(told[0], "15s") {
					t.Errorf("told %q", told)
				}
			})
		})
	}
}

func TestNoLeaseIsAwaitedOfAClusterThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, gone := &leaseServer{away: syscall.ECONNREFUSED}, errors.New("deleted")
		asked := 0
		l := &lease{leases: server, me: thisRunOf(t)}
		err := l.await(t.Context(), nil, func(context.Context) error {
			if asked++; asked < 3 {
				return nil // it may have been away for a moment
			}
			return gone
		})
		if !errors.Is(err, gone) || asked != 3 {
			t.Errorf("asked %d times: %v", asked, err)
		}
	})
}

func TestALeaseThatGoesWhileItIsTakenIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &leaseServer{ends: true}
		server.held("", time.Now())
		l := &lease{leases: server, me: thisRunOf(t)}
		if err := l.await(t.Context(), nil, nil); err != nil || server.holder() != l.me.String() {
			t.Errorf("it is held by %q, %v", server.holder(), err)
		}
	})
}

func TestALeaseThatAnotherTookIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &leaseServer{}
		l := &lease{leases: server, me: thisRunOf(t)}
		if err := l.await(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
		lost := make(chan error, 2)
		go l.keep(t.Context(), func(err error) { lost <- err })
		server.held("far-away/7/other/boot/space/1", time.Now().Add(-time.Hour)) // also one that looks as if it had run out
		err := <-lost
		var taken *LeaseLostError
		if !errors.As(err, &taken) || taken.Holder != "far-away/7/other" || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		if got := server.holder(); !strings.HasPrefix(got, "far-away") || len(lost) > 0 {
			t.Errorf("it is held by %q, and was told %d times more", got, len(lost))
		}
	})
}

// TestALeaseIsGivenBack also when a renewal that was cut off is written after all, and not when another run has it by then.
func TestALeaseIsGivenBack(t *testing.T) {
	me := thisRunOf(t)
	for name, c := range map[string]struct {
		writer string // who writes it between the look and the deletion
		left   bool
	}{"nobody": {}, "this run": {writer: me.String()}, "another run": {writer: "far-away/7/other", left: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &leaseServer{}
				l := &lease{leases: server, me: me}
				if err := l.await(t.Context(), nil, nil); err != nil {
					t.Fatal(err)
				}
				if c.writer != "" {
					server.writes = func() {
						written := server.lease.DeepCopy()
						written.Spec.HolderIdentity = &c.writer
						server.write(written)
					}
				}
				life, end := context.WithCancel(t.Context())
				end()
				l.keep(life, func(err error) { t.Errorf("lost: %v", err) })
				if server.exists() != c.left {
					t.Errorf("it is left: %t", server.exists())
				}
			})
		})
	}
}

// TestALeaseThatIsGone: one that another run may have held meanwhile is lost, one that was deleted by hand is made anew.
func TestALeaseThatIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		away time.Duration // for which this run could not renew it
		lost bool
	}{
		"it was renewed just now": {leaseRenewal, false}, "another may have had it": {leaseDuration + time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &leaseServer{}
				l := &lease{leases: server, me: thisRunOf(t)}
				if err := l.await(t.Context(), nil, nil); err != nil {
					t.Fatal(err)
				}
				life, end := context.WithCancel(t.Context())
				defer end()
				lost := make(chan error, 1)
				go l.keep(life, func(err error) { lost <- err })
				server.unreachable(errors.New("connection refused"))
				pass(t, c.away)
				server.remove()
				server.unreachable(nil)
				pass(t, 2*time.Second)
				select {
				case err := <-lost:
					if taken := (*LeaseLostError)(nil); !c.lost || !errors.As(err, &taken) || taken.Holder != "" || server.exists() {
						t.Errorf("lost: %v", err)
					}
				default:
					if c.lost || !server.exists() {
						t.Errorf("it was not told as lost, or not made anew")
					}
				}
			})
		})
	}
}

// TestNoLeaseIsTakenForATimeInWhichNobodyWasAnswered: the server is away for longer than the lease lasts, and its holder
// renews it only after the one who waits has asked again.
func TestNoLeaseIsTakenForATimeInWhichNobodyWasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &leaseServer{}
		server.held("far-away/7/other", time.Now())
		l := &lease{leases: server, me: thisRunOf(t)}
		taken := make(chan error, 1)
		go func() { taken <- l.await(t.Context(), nil, nil) }()
		pass(t, 2*time.Second)
		server.unreachable(apierrors.NewServiceUnavailable("it starts"))
		pass(t, 2*leaseDuration)
		server.unreachable(nil)
		pass(t, leaseRenewal)
		if len(taken) > 0 {
			t.Fatal("it was taken before its holder could renew it")
		}
		server.held("far-away/7/other", time.Now())
		back := time.Now()
		if err := <-taken; err != nil {
			t.Fatal(err)
		}
		if after := time.Since(back); after < leaseDuration {
			t.Errorf("it was taken %s after it was renewed last", after)
		}
	})
}

func TestAServerThatIsAwayLosesNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &leaseServer{}
		l := &lease{leases: server, me: thisRunOf(t)}
		if err := l.await(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
		life, end := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			l.keep(life, func(err error) { t.Errorf("lost: %v", err) })
		}()
		server.unreachable(errors.New("connection refused"))
		pass(t, 10*time.Minute)
		if asked := server.requests(); asked < 100 {
			t.Errorf("it asked %d times while the server was away", asked)
		}
		server.unreachable(nil)
		back := time.Now()
		pass(t, 2*time.Second)
		if renewed := server.renewed(); renewed.Before(back.Truncate(time.Microsecond)) {
			t.Errorf("it was renewed last at %s, and the server is back since %s", renewed, back)
		}
		end()
		<-ended
		if server.lease != nil {
			t.Errorf("at the end it is held by %q", server.holder())
		}
	})
}

// pass lets time pass in a bubble.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	if err := wait.Sleep(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}
