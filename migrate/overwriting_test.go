package migrate

import (
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// TestDataInATargetIsNotGivenUpByARebuild: the target of a migration has no set that rebuild could choose.
func TestDataInATargetIsNotGivenUpByARebuild(t *testing.T) {
	r := &Rebuild{job: &bootstrap.Job{}, set: &state.Manifest{ID: "20261123-060000-abcdef"}}
	if hint := r.overwriting(); !strings.Contains(hint, "rekindle rebuild --at 20261123-060000-abcdef --force") {
		t.Errorf("a rebuild: %s", hint)
	}
	r.o.Standby = &Standby{}
	if hint := r.overwriting(); strings.Contains(hint, "--force") || !strings.Contains(hint, "if nothing in it is needed") {
		t.Errorf("a migration: %s", hint)
	}
}
