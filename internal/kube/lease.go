package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// The lease that keeps two runs apart. Its holder renews it three times in its duration.
const (
	leaseName      = "rekindle"
	leaseNamespace = "kube-system"
	leaseDuration  = 15 * time.Second
	leaseRenewal   = leaseDuration / 3
)

// LeaseLostError says that another run has the lease that this one held, or may have had it: then Holder is empty.
// It is an end of a context to those who ask for one, as it is the cause of that.
type LeaseLostError struct{ Holder string }

func (e *LeaseLostError) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("it was not renewed for more than %s, and is gone: another run may have taken it and ended", leaseDuration)
	}
	return "the run " + e.Holder + " holds it now"
}

// Is says that it is as context.Canceled: requests tell the cause of their context's end.
func (e *LeaseLostError) Is(target error) bool { return target == context.Canceled }

// HoldLease waits, bounded by ctx, until no other run holds this cluster, and then holds it until
// lifetime is done, when it is given back (see Close). A holder that died on this machine is not waited for; one
// that died elsewhere is, until this process has seen nothing of it for the lease's duration.
//
// gone is asked while the server does not answer: its error ends the waiting, as where the cluster was deleted meanwhile.
//
// lost is called, once, when another run holds the lease all the same, or had it meanwhile, as after a machine slept.
// A server that does not answer is no such case: the time in which it is away counts for nobody.
func (c *Client) HoldLease(ctx, lifetime context.Context, p plan.Progress, gone func(context.Context) error, lost func(error)) error {
	me, err := thisRun()
	if err != nil {
		return err
	}
	l := &lease{leases: c.typed.CoordinationV1().Leases(leaseNamespace), me: me}
	if err := l.await(ctx, p, gone); err != nil {
		return err
	}
	c.running.Go(func() { l.keep(lifetime, lost) })
	return nil
}

type lease struct {
	leases typedv1.LeaseInterface
	me     holder
	seen   sighting
}

// sighting is the newest word of another holder, and when this process saw it first and last. That one's own clock may
// be wrong, and says nothing.
type sighting struct {
	holder      string
	renews      time.Time
	first, last time.Time
}

// await waits until the lease is taken.
func (l *lease) await(ctx context.Context, p plan.Progress, gone func(context.Context) error) error {
	free := wait.Func("the lease of the cluster", func(ctx context.Context) (bool, string, error) {
		other, err := l.take(ctx, l.blocks, true)
		if transient(err) && gone != nil {
			if gone := gone(ctx); gone != nil {
				return false, "", gone
			}
		}
		if transient(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) { // or another was faster, or deleted it
			return false, brief(err), nil
		}
		return other == "", fmt.Sprintf("held by the run %s; if that died on another machine, its lease expires after %s", nameOf(other), leaseDuration), err
	})
	return wait.Poll(ctx, free, time.Second, p)
}

// take takes or renews the lease, or says who has it, if that one's lease keeps us out. One that is not there it makes, if it may.
func (l *lease) take(ctx context.Context, out func(coordinationv1.LeaseSpec) bool, mayMake bool) (other string, err error) {
	now, seconds, me := metav1.NowMicro(), int32(leaseDuration/time.Second), l.me.String()
	spec := coordinationv1.LeaseSpec{HolderIdentity: &me, AcquireTime: &now, RenewTime: &now, LeaseDurationSeconds: &seconds}
	have, err := l.leases.Get(ctx, leaseName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) && mayMake:
		_, err = l.leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: leaseName, Namespace: leaseNamespace}, Spec: spec,
		}, metav1.CreateOptions{})
		return "", err
	case err != nil:
		return "", err
	case out(have.Spec):
		return holderOf(have.Spec), nil
	case holderOf(have.Spec) == me:
		spec.AcquireTime = have.Spec.AcquireTime
	}
	have.Spec = spec
	_, err = l.leases.Update(ctx, have, metav1.UpdateOptions{}) // with its resourceVersion: one of two wins
	return "", err
}

// blocks says whether somebody else, alive as far as can be known, holds the lease: it was renewed while we
// looked on, or we have not looked on for long enough.
func (l *lease) blocks(s coordinationv1.LeaseSpec) bool {
	if !l.another(s) || parseHolder(holderOf(s)).goneFor(l.me) {
		return false
	}
	now := sighting{holder: holderOf(s), first: time.Now(), last: time.Now()}
	if s.RenewTime != nil {
		now.renews = s.RenewTime.Time
	}
	// While the server did not answer us, it may not have answered the holder either: that it did not renew says nothing.
	lookedOn := now.last.Sub(l.seen.last) <= leaseRenewal
	if lookedOn && l.seen.holder == now.holder && l.seen.renews.Equal(now.renews) {
		now.first = l.seen.first
	}
	l.seen = now
	duration := leaseDuration
	if s.LeaseDurationSeconds != nil && *s.LeaseDurationSeconds > 0 {
		duration = time.Duration(*s.LeaseDurationSeconds) * time.Second
	}
	return time.Since(l.seen.first) < duration
}

// another says whether the lease names another holder, dead or alive.
func (l *lease) another(s coordinationv1.LeaseSpec) bool {
	return holderOf(s) != "" && holderOf(s) != l.me.String()
}

func holderOf(s coordinationv1.LeaseSpec) string {
	if s.HolderIdentity == nil {
		return ""
	}
	return *s.HolderIdentity
}

// keep renews the lease until its lifetime is done, and gives it back then. It ends early when the lease is lost.
func (l *lease) keep(lifetime context.Context, lost func(error)) {
	for renewed := time.Now(); wait.Sleep(lifetime, time.Second) == nil; {
		if wait.Since(renewed) < leaseRenewal {
			continue
		}
		began := time.Now()
		err := l.renew(lifetime, wait.Since(renewed) < leaseDuration)
		if taken := (*LeaseLostError)(nil); errors.As(err, &taken) {
			lost(taken)
			return
		}
		if err == nil { // else again in a second: the server is away, or somebody wrote between
			renewed = began
		}
	}
	l.giveBack(lifetime)
}

// renew renews the lease. It is lost when another run has it, or when it is gone and was not fresh, so that another may
// have taken it, done its work and given it back. One that went before its time was deleted by hand, and is made anew.
func (l *lease) renew(ctx context.Context, fresh bool) error {
	ctx, cancel := context.WithTimeout(ctx, leaseRenewal) // a connection that is cut may never answer
	defer cancel()
	other, err := l.take(ctx, l.another, fresh)
	if other != "" || (apierrors.IsNotFound(err) && !fresh) {
		return &LeaseLostError{Holder: nameOf(other)}
	}
	return err
}

// giveBack deletes the lease: of a run that has ended nothing is left in a cluster. One that another run has taken since stays.
// A renewal that the end of the run cut off may still be written, between our look and our deletion.
func (l *lease) giveBack(lifetime context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(lifetime), leaseRenewal)
	defer cancel()
	for conflict := true; conflict; {
		have, err := l.leases.Get(ctx, leaseName, metav1.GetOptions{})
		if err != nil || holderOf(have.Spec) != l.me.String() {
			return
		}
		asSeen := metav1.Preconditions{UID: &have.UID, ResourceVersion: &have.ResourceVersion}
		err = l.leases.Delete(ctx, leaseName, metav1.DeleteOptions{Preconditions: &asSeen})
		conflict = apierrors.IsConflict(err) // any other error: it runs out by itself
	}
}
