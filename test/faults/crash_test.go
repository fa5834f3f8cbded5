package faults

import (
	"syscall"
	"testing"
	"time"
)

const dev = "clusters/dev/cluster.yaml"

// TestKilledAtEveryBoundary kills up before and after each of its steps. Every run goes on from what the last one
// left, so that each step's boundaries are met as the step runs for the first time. In the end all is there once.
// Then down is treated in the same way, and in the end nothing is there.
func TestKilledAtEveryBoundary(t *testing.T) {
	w := newWorld(t)
	_, out, _ := w.strike(moment{}, 0, "plan", dev)
	for _, at := range planned(t, out) {
		if _, out, hit := w.strike(at, syscall.SIGKILL, "up", dev); !hit {
			t.Fatalf("up was never at %q\n%s", at, out)
		}
	}
	w.must("up", dev)
	w.existsOnce("shop-dev")

	start := time.Now()
	if doc := w.must("up", dev); doc.Changes != 0 {
		t.Errorf("one more up made %d changes", doc.Changes)
	}
	for _, write := range w.writesSince("shop-dev", start) {
		t.Errorf("one more up wrote: %s", write)
	}
	w.must("status", dev)

	for _, step := range []string{"cluster", "lease", "delete", "kubeconfig", "leftovers"} {
		for _, phase := range []string{"running", "succeeded"} {
			at := moment{step, phase}
			if _, out, hit := w.strike(at, syscall.SIGKILL, "down", dev, "--yes"); !hit {
				t.Fatalf("down was never at %q\n%s", at, out)
			}
		}
	}
	w.must("down", dev, "--yes")
	w.nothingLeft()
	if doc := w.must("down", dev, "--yes"); doc.Changes != 0 {
		t.Errorf("one more down made %d changes", doc.Changes)
	}
}

// TestInterrupted sends the signal of Ctrl-C in every phase: the command says so, stops with 130 and leaves what
// the next run goes on from.
func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	for _, at := range []moment{
		{"charts", "running"}, {"provision", "running"}, {"crds", "running"}, {"release/prometheus-operator", "running"},
		{"follow", "running"}, {"sync", "running"},
	} {
		code, out, hit := w.strike(at, syscall.SIGINT, "up", dev)
		if !hit {
			t.Fatalf("up was never at %q\n%s", at, out)
		}
		if doc := lastLine(t, out); code != 130 || doc.Result == "proven" || doc.ExitCode != 130 {
			t.Errorf("interrupted at %q: exit %d, report %s with %d", at, code, doc.Result, doc.ExitCode)
		}
	}
	w.must("up", dev)
	w.existsOnce("shop-dev")
	code, _, _ := w.strike(moment{"delete", "running"}, syscall.SIGINT, "down", dev, "--yes")
	if code != 130 && code != 0 {
		t.Errorf("down, interrupted while it deletes: exit %d", code)
	}
	w.must("down", dev, "--yes")
	w.nothingLeft()
}
