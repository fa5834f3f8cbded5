package kube

import (
	"net/http"
	"testing"
)

// idle counts how often its idle connections were closed.
type idle struct {
	http.RoundTripper
	closed int
}

func (i *idle) CloseIdleConnections() { i.closed++ }

// TestConnectionsAreClosedBelowWhatIsAroundThem: net/http looks for no transport below the first.
func TestConnectionsAreClosedBelowWhatIsAroundThem(t *testing.T) {
	below := &idle{}
	closeIdle(&clocked{next: &granted{next: below}})
	closeIdle(nil)
	if below.closed != 1 {
		t.Errorf("closed %d times", below.closed)
	}
}
