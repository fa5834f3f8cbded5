package kube

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// TestAServerThatSaysNothingOfWhatItServes hangs nobody for ever: discovery knows no context that could end it.
func TestAServerThatSaysNothingOfWhatItServes(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-done:
		}
	}))
	defer server.Close()
	defer close(done)
	c, err := Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Mapper().RESTMapping(schema.GroupKind{Kind: "ConfigMap"}); !transient(err) {
		t.Errorf("to ask once more is no use: %v", err)
	}
}

// TestTheVersionOfAServerThatIsBusy is asked for again.
func TestTheVersionOfAServerThatIsBusy(t *testing.T) {
	t.Parallel()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if asked++; asked < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(`{"gitVersion": "v1.37.2"}`))
	}))
	defer server.Close()
	c, err := Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if info, err := c.Version(t.Context()); err != nil || info.GitVersion != "v1.37.2" {
		t.Errorf("%v, %v", info, err)
	}
}
