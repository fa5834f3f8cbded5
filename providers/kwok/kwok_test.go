package kwok_test

import (
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

func TestMain(m *testing.M) { kwoktest.Main(m) }

func TestFirst(t *testing.T) {
	for range 2 {
		start := time.Now()
		c := kwoktest.Shared(t)
		t.Logf("%s after %s", c.Outcome, time.Since(start))
	}
}
