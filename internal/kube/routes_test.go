package kube

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestRoutesAreAwaitedByTheClockOfTheCluster, whatever that of this machine is.
func TestRoutesAreAwaitedByTheClockOfTheCluster(t *testing.T) {
	for name, off := range map[string]time.Duration{"equal": 0, "told late": -time.Second, "ahead of ours": time.Hour, "behind ours": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := time.Now().Add(off)
				c := &Client{clock: &serverClock{}}
				c.clock.hear(&http.Response{Header: http.Header{"Date": {server.UTC().Format(http.TimeFormat)}}})
				ready := time.Now().Add(-time.Second)
				if off.Abs() > agree {
					ready = server.Add(-time.Second)
				}
				began := time.Now()
				if err := c.AwaitRoutes(t.Context(), ready, "they are", nil); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took < routeTime-2*time.Second || took > routeTime {
					t.Errorf("it waited %s", took)
				}
				began = time.Now()
				if err := c.AwaitRoutes(t.Context(), ready, "they are", nil); err != nil || time.Since(began) > 0 {
					t.Errorf("it waited again, %s: %v", time.Since(began), err)
				}
			})
		})
	}
}
