//go:build e2e

package content

import (
	"bytes"
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// TestProgramsStart builds every program that comes from a module, into the cache that the lab uses, and
// asks it for help: a program that panics at its start, as one with clashing flags does, is no component.
func TestProgramsStart(t *testing.T) {
	cache, err := assets.Open("")
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range Images() {
		if spec.Module == "" {
			continue
		}
		archive, err := Module(spec.Module)
		if err != nil {
			t.Fatal(err)
		}
		m := assets.Module{Name: spec.Module, Archive: archive, LDFlags: spec.LDFlags, Tags: spec.Tags}
		for name, pkg := range spec.Package {
			m.Programs = append(m.Programs, assets.Program{Name: name, Package: pkg})
		}
		start := time.Now()
		built, err := cache.Build(t.Context(), m, func(plan.Update) {})
		if err != nil {
			t.Errorf("%s: %v", spec.Ref, err)
			continue
		}
		t.Logf("%s: built in %s", spec.Ref, time.Since(start).Round(time.Second))
		for name, path := range built {
			help(t, name, path)
		}
	}
}

// help runs a program with --help: flag packages end with 0 or 2 and tell the flags, a panic does not.
func help(t *testing.T, name, path string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), path, "--help").CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 2) || !bytes.Contains(bytes.ToLower(out), []byte("usage")) || bytes.Contains(out, []byte("goroutine ")) {
		t.Errorf("%s --help: %v\n%.2000s", name, err, out)
	}
}
