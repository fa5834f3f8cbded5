package kube_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

// forgetful is a transport that refuses some requests as an API server that was started anew does while it has not read
// its roles: tests are of system:masters, whom nobody refuses anything. Each lost connection begins that anew.
type forgetful struct {
	next http.RoundTripper
	says string // another refusal

	mu      sync.Mutex
	lose    int // so many connections
	refuse  int // so many requests
	refused int
}

// in is a configuration that uses it.
func (f *forgetful) in(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		f.next = next
		return f
	})
	return config
}

func (f *forgetful) set(lose, refuse int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lose, f.refuse, f.refused = lose, refuse, 0
}

func (f *forgetful) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	lose, refuse := f.lose > 0, f.lose == 0 && f.refuse > 0
	if lose {
		f.lose--
	} else if refuse {
		f.refuse--
		f.refused++
	}
	f.mu.Unlock()
	if lose {
		return nil, syscall.ECONNREFUSED
	}
	if !refuse {
		answer, err := f.next.RoundTrip(r)
		if err != nil && r.Context().Err() == nil {
			f.set(0, 20)
		}
		return answer, err
	}
	says := f.says
	if says == "" {
		says = `configmaps is forbidden: User \"somebody\" cannot list resource \"configmaps\" in API group \"\"`
	}
	body := fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"%s"}`, says)
	return &http.Response{StatusCode: http.StatusForbidden, Status: "403 Forbidden", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}, nil
}

func TestARefusalAfterARestartPasses(t *testing.T) {
	ref := func(name string) kube.Ref {
		return kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: "default", Name: name}
	}
	for name, c := range map[string]struct {
		before, asked string // the names that are read before and after
		lose, refuse  int
		says          string
		passes        bool
	}{
		"what it allowed before":      {before: "a", asked: "a", refuse: 3, passes: true},
		"after a connection was lost": {before: "a", asked: "b", lose: 2, refuse: 3, passes: true},
		"what it never allowed":       {before: "a", asked: "b", refuse: 3},
		"what it goes on to refuse":   {before: "a", asked: "a", refuse: 1000},
		"what admission refuses":      {before: "a", asked: "a", refuse: 3, says: "configmaps is forbidden: exceeded quota"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &forgetful{says: c.says}
			client := connect(t, f.in(kwoktest.Shared(t).REST))
			client.BelieveRefusalsAfter(3 * time.Second)
			if _, err := client.Get(t.Context(), ref(c.before)); err != nil {
				t.Fatal(err)
			}
			f.set(c.lose, c.refuse)
			began := time.Now()
			_, err := client.Get(t.Context(), ref(c.asked))
			if c.passes && (err != nil || f.refused != c.refuse) || !c.passes && !apierrors.IsForbidden(err) {
				t.Errorf("after %s and %d refusals: %v", time.Since(began), f.refused, err)
			}
			if !c.passes && c.refuse == 3 && f.refused != 1 {
				t.Errorf("it asked %d times", f.refused)
			}
		})
	}
}
