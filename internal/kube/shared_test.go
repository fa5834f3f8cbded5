package kube_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestABurstOfInvalidationsCostsOneDiscovery(t *testing.T) {
	cluster := kwoktest.Shared(t)
	var asked atomic.Int64
	config := rest.CopyConfig(cluster.REST)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/apis" {
				asked.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	c := connect(t, config)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			d, err := c.RESTClientGetter("default").ToDiscoveryClient()
			if err != nil {
				t.Error(err)
				return
			}
			d.Invalidate()
			if _, _, err := d.ServerGroupsAndResources(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := asked.Load(); got != 1 {
		t.Errorf("50 invalidations asked %d times", got)
	}
	for range 50 {
		all.Go(func() {
			if _, err := c.Get(t.Context(), kube.Ref{Group: "no.example.com", Version: "v1", Kind: "None", Namespace: "default", Name: "x"}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := asked.Load(); got > 4 {
		t.Errorf("50 look-ups at once of a kind that is not served asked %d times", got-1)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTheLeaseKeepsTwoRunsApart(t *testing.T) {
	s := spaceOn(t, kwoktest.Shared(t))
	first, end := context.WithCancel(t.Context())
	if err := s.client.HoldLease(t.Context(), first, nil, nil, kept(t)); err != nil {
		t.Fatal(err)
	}
	other := connect(t, s.cluster.REST)
	ctx, listen := s.untilTold("held by the run")
	err := other.HoldLease(ctx, t.Context(), listen, nil, kept(t))
	if err == nil || !strings.Contains(err.Error(), "held by the run") {
		t.Errorf("a second run: %v", err)
	}
	end()
	s.client.Close()
	isBack := func() {
		t.Helper()
		left, err := s.client.Typed().CoordinationV1().Leases("kube-system").Get(t.Context(), "rekindle", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			t.Errorf("in the end there is %v, %v", left, err)
		}
	}
	isBack()
	second, end := context.WithCancel(t.Context())
	if err := other.HoldLease(s.within(time.Minute), second, nil, nil, kept(t)); err != nil {
		t.Errorf("after the first: %v", err)
	}
	end()
	other.Close()
	isBack()
}

// kept is for a lease that nobody takes away.
func kept(t *testing.T) func(error) {
	return func(err error) { t.Errorf("the lease was lost: %v", err) }
}
