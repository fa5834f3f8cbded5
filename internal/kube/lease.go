package kube

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// The lease that keeps two runs apart. Its holder renews it three times in its duration.
const (
	leaseName      = "rekindle"
	leaseNamespace = "kube-system"
	leaseDuration  = 15 * time.Second
)

// HoldLease waits, bounded by ctx, until no other run holds this cluster, and then holds it until
// lifetime is done, when it is given back (see Close). A holder that died on this machine is not waited for; one
// that died elsewhere is, until its lease has run out. Should the lease be lost all the same, p is told.
func (c *Client) HoldLease(ctx, lifetime context.Context, p plan.Progress) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name of this machine: %w", err)
	}
	l := &lease{client: c, host: host, holder: fmt.Sprintf("%s/%d/%s", host, os.Getpid(), rand.String(5))}
	free := wait.Func("the lease of the cluster", func(ctx context.Context) (bool, string, error) {
		other, err := l.take(ctx)
		if transient(err) || apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
			return false, brief(err), nil
		}
		return other == "", "held by the run " + other, err
	})
	if err := wait.Poll(ctx, free, time.Second, p); err != nil {
		return err
	}
	c.running.Go(func() { l.keep(lifetime, p) })
	return nil
}

type lease struct {
	client *Client
	host   string
	holder string
}

// take takes or renews the lease, or says who has it.
func (l *lease) take(ctx context.Context) (other string, err error) {
	leases := l.client.typed.CoordinationV1().Leases(leaseNamespace)
	now, seconds := metav1.NowMicro(), int32(leaseDuration/time.Second)
	spec := coordinationv1.LeaseSpec{HolderIdentity: &l.holder, AcquireTime: &now, RenewTime: &now, LeaseDurationSeconds: &seconds}
	have, err := leases.Get(ctx, leaseName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: leaseName, Namespace: leaseNamespace}, Spec: spec,
		}, metav1.CreateOptions{})
		return "", err
	case err != nil:
		return "", err
	case l.blocks(have.Spec):
		return *have.Spec.HolderIdentity, nil
	}
	have.Spec = spec
	_, err = leases.Update(ctx, have, metav1.UpdateOptions{}) // with its resourceVersion: one of two wins
	return "", err
}

// blocks says whether somebody else, alive as far as can be known, holds the lease.
func (l *lease) blocks(s coordinationv1.LeaseSpec) bool {
	if s.HolderIdentity == nil || *s.HolderIdentity == "" || *s.HolderIdentity == l.holder || s.RenewTime == nil {
		return false
	}
	if id := strings.Split(*s.HolderIdentity, "/"); len(id) == 3 && id[0] == l.host && !alive(id[1]) {
		return false
	}
	duration := leaseDuration
	if s.LeaseDurationSeconds != nil {
		duration = time.Duration(*s.LeaseDurationSeconds) * time.Second
	}
	return time.Since(s.RenewTime.Time) < duration
}

// alive says whether a process of this machine may be running.
func alive(pid string) bool {
	number, err := strconv.Atoi(pid)
	if err != nil {
		return true
	}
	_, err = os.Stat(fmt.Sprintf("/proc/%d", number))
	if _, missing := os.Stat("/proc/self"); missing != nil {
		return true // no such file system here: let the time decide
	}
	return err == nil
}

// keep renews the lease until its lifetime is done, and gives it back then.
func (l *lease) keep(lifetime context.Context, p plan.Progress) {
	for wait.Sleep(lifetime, leaseDuration/3) == nil {
		if other, err := l.take(lifetime); err == nil && other != "" {
			p.Warn(fmt.Sprintf("the lease of the cluster was lost to the run %s", other))
			return
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(lifetime), leaseDuration/3)
	defer cancel()
	leases := l.client.typed.CoordinationV1().Leases(leaseNamespace)
	have, err := leases.Get(ctx, leaseName, metav1.GetOptions{})
	if err != nil || have.Spec.HolderIdentity == nil || *have.Spec.HolderIdentity != l.holder {
		return
	}
	have.Spec.HolderIdentity, have.Spec.RenewTime = nil, nil
	_, _ = leases.Update(ctx, have, metav1.UpdateOptions{}) // else it runs out by itself
}
