// Package gketest gives tests an emulator of GKE's API.
//
// A test binary that uses it has
//
//	func TestMain(m *testing.M) { kwoktest.Main(m) }
//
// so that the control planes behind the clusters end with it.
package gketest

import (
	"context"
	"testing"

	gke "github.com/rekindle-dev/rekindle/test/gke"

	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

// Start opens an emulator for the time of a test, with a folder of its own where the options name none.
func Start(t testing.TB, o gke.Options) *gke.Server {
	t.Helper()
	s := Open(t, o)
	t.Cleanup(func() { Destroy(t, s) })
	return s
}

// Open is Start for a test that ends the emulator itself.
func Open(t testing.TB, o gke.Options) *gke.Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Kwok = kwoktest.Options(o.Kwok.State)
	if o.Log == nil {
		o.Log = lines{t}
	}
	s, err := gke.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Destroy ends an emulator and everything behind it.
func Destroy(t testing.TB, s *gke.Server) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close the emulator: %v", err)
	}
	if err := s.Destroy(context.WithoutCancel(t.Context())); err != nil {
		t.Errorf("remove what was behind the emulator: %v", err)
	}
}

// lines writes to a test's log.
type lines struct{ t testing.TB }

func (l lines) Write(p []byte) (int, error) {
	l.t.Log(string(p))
	return len(p), nil
}
