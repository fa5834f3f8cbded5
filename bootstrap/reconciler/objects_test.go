package reconciler_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/bootstrap/reconciler"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

func TestWhatAWaitForAReconcilerEndedByIsTold(t *testing.T) {
	for text, err := range map[string]error{
		"nothing in the cluster serves that kind": errors.New(`Thing/a dry-run failed: no matches for kind "Thing" in version "x.io/v1"`),
		"spec.source.timeout gives it more time":  fmt.Errorf("1 of 2 not ready: %w", context.DeadlineExceeded),
		"look there":                              errors.New("is invalid"),
	} {
		if got := fault.Text(reconciler.Stuck(err, "flux", "look there")); !strings.Contains(got, text) || !strings.Contains(got, "look there") {
			t.Errorf("%v: %s", err, got)
		}
	}
}
