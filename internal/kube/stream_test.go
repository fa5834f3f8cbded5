package kube_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// longList is an API server with so many ConfigMaps that it lists them in two pages. The one called x is on the first; it came
// into being after it was looked for once, and the second time the server is busy. The second page is not told before release
// is closed.
type longList struct {
	paused  chan struct{} // closed when the first page was read
	release chan struct{}

	once   sync.Once
	mu     sync.Mutex
	looked int
}

const xJSON = `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "shop", "resourceVersion": "5"}}`

func (s *longList) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	query := r.URL.Query()
	switch path := r.URL.Path; {
	case path == "/api":
		_, _ = io.WriteString(w, `{"kind": "APIVersions", "versions": ["v1"]}`)
	case path == "/apis":
		_, _ = io.WriteString(w, `{"kind": "APIGroupList", "apiVersion": "v1", "groups": []}`)
	case path == "/api/v1":
		_, _ = io.WriteString(w, `{"kind": "APIResourceList", "groupVersion": "v1", "resources": [
			{"name": "configmaps", "namespaced": true, "kind": "ConfigMap", "verbs": ["get", "list", "watch"]}]}`)
	case query.Get("watch") != "":
		<-r.Context().Done() // nothing happens any more
	case strings.HasSuffix(path, "/configmaps") && query.Get("continue") == "":
		fmt.Fprintf(w, `{"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "9", "continue": "more"}, "items": [%s]}`, xJSON)
	case strings.HasSuffix(path, "/configmaps"):
		s.once.Do(func() { close(s.paused) })
		select {
		case <-s.release:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, `{"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": []}`)
	case strings.HasSuffix(path, "/configmaps/x"):
		s.tellX(w)
	default:
		fail(w, http.StatusNotFound, "NotFound")
	}
}

func (s *longList) tellX(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.looked++; s.looked {
	case 1:
		fail(w, http.StatusNotFound, "NotFound")
	case 2:
		fail(w, http.StatusServiceUnavailable, "ServiceUnavailable")
	default:
		_, _ = io.WriteString(w, xJSON)
	}
}

func fail(w http.ResponseWriter, code int, reason string) {
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": %q, "code": %d}`, reason, code)
}

// unavailable is the answer of a server that is away for a moment.
func unavailable() *http.Response {
	answer := httptest.NewRecorder()
	answer.Header().Set("Content-Type", "application/json")
	fail(answer, http.StatusServiceUnavailable, "ServiceUnavailable")
	return answer.Result()
}

// TestWhoJoinsInTheMidstOfAListMissesNothing: what it waits for was told to others before it came, and is never told again.
func TestWhoJoinsInTheMidstOfAListMissesNothing(t *testing.T) {
	server := &longList{paused: make(chan struct{}), release: make(chan struct{})}
	web := httptest.NewServer(server)
	defer web.Close()
	client := connect(t, &rest.Config{Host: web.URL})
	w := client.Watch(t.Context())
	ref := func(name string) []kube.Ref {
		return []kube.Ref{{Version: "v1", Kind: "ConfigMap", Namespace: "shop", Name: name}}
	}
	first, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Ready(first, ref("never"), nil) }()
	<-server.paused

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	released := false
	err := w.Ready(ctx, ref("x"), func(u plan.Update) {
		if u.Waiting != "" && !released { // it listens, and the list comes to its end
			released = true
			close(server.release)
		}
	})
	if err != nil {
		t.Error(err)
	}
	if !released {
		close(server.release)
	}
	end()
	<-ended
	w.Close()
}
