package faults

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const bareFile = "clusters/dev/bare.yaml"

// TestRehearseCleansUp after success, after a failure, and after Ctrl-C.
func TestRehearseCleansUp(t *testing.T) {
	w := newWorld(t)
	if doc := w.must("rehearse", dev); len(doc.Unproven) == 0 {
		t.Error("nothing is named as not provable on simulated nodes")
	}
	w.nothingLeft()
	w.commit(stuckFiles())
	artifacts := filepath.Join(w.home, "artifacts")
	if code, out, _ := w.run("rehearse", "clusters/dev/stuck.yaml", "--artifacts", artifacts); code != 1 {
		t.Errorf("exit %d\n%s", code, out)
	}
	if found, err := filepath.Glob(filepath.Join(artifacts, "*", "events.txt")); err != nil || len(found) != 1 {
		t.Errorf("artifacts: %v, %v", found, err)
	}
	w.nothingLeft()
	if code, out, hit := w.strike(moment{"crds", "running"}, syscall.SIGINT, "rehearse", dev); code != 130 || !hit {
		t.Errorf("interrupted: exit %d\n%s", code, out)
	}
	w.nothingLeft()
}

// TestRunPassesTheExitCodeOn and gives the command its cluster, and nothing of the user's.
func TestRunPassesTheExitCodeOn(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile(w.kubeconfig(), []byte("apiVersion: v1\nkind: Config\ncurrent-context: mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(w.kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	artifacts, seen := filepath.Join(w.home, "artifacts"), filepath.Join(w.home, "seen")
	code, out, doc := w.run("run", bareFile, "--artifacts", artifacts, "--",
		"sh", "-c", `echo "$REKINDLE_CLUSTER" >`+seen+`; grep -q "server: https" "$KUBECONFIG" && exit 7`)
	if code != 7 || doc.ExitCode != 7 {
		t.Fatalf("exit %d, the report has %d, want the command's 7\n%s", code, doc.ExitCode, out)
	}
	if raw, err := os.ReadFile(seen); err != nil || !strings.HasPrefix(string(raw), "bare-run-") {
		t.Errorf("REKINDLE_CLUSTER is %q, %v", raw, err)
	}
	for _, file := range []string{"events.txt", "pods.txt", "nodes.yaml", "host/kube-apiserver.log"} {
		if found, err := filepath.Glob(filepath.Join(artifacts, "*", file)); err != nil || len(found) != 1 {
			t.Errorf("%s: %v, %v", file, found, err)
		}
	}
	if after, err := os.ReadFile(w.kubeconfig()); err != nil || string(after) != string(before) {
		t.Errorf("the user's kubeconfig is now\n%s", after)
	}
	w.nothingLeft()

	if code, out, doc := w.run("run", bareFile, "--", "no-such-command"); code != 2 || !strings.Contains(out, "no-such-command") || len(doc.Steps) > 0 {
		t.Errorf("a command that is not there: exit %d\n%s", code, out)
	}
	code, out, _ = w.run("run", bareFile, "--artifacts", seen, "--", "false") // which is no folder
	if code != 1 || !strings.Contains(out, "no artifacts: ") || strings.Contains(out, "artifacts are in") {
		t.Errorf("artifacts that cannot be written: exit %d\n%s", code, out)
	}
	w.nothingLeft()
}

// TestAKilledRunIsCollected kills run in every phase. Until its TTL is over gc leaves its cluster alone, unless it
// is told to take those whose run is dead; then nothing is left.
func TestAKilledRunIsCollected(t *testing.T) {
	w := newWorld(t)
	w.must("up", bareFile) // which is to stay
	for _, at := range []moment{
		{"preflight", "running"}, {"provision", "running"}, {"provision", "succeeded"}, {"lease", "succeeded"},
		{"cluster", "running"}, {"delete", "running"},
	} {
		if _, out, hit := w.strike(at, syscall.SIGKILL, "run", bareFile, "--", "true"); !hit {
			t.Fatalf("run was never at %q\n%s", at, out)
		}
		w.must("gc", "--provider", "kwok")
		if at.step == "lease" && len(w.clusters()) != 2 {
			t.Errorf("killed at %q: gc did not leave a cluster whose TTL is not over: %v", at, w.clusters())
		}
		w.must("gc", "--provider", "kwok", "--dead")
		if all := w.clusters(); len(all) != 1 || all[0] != "bare" {
			t.Errorf("killed at %q: after gc there is %v", at, all)
		}
	}
	if code, out, _ := w.run("gc", "--provider", "kwok"); code != 0 {
		t.Errorf("exit %d\n%s", code, out)
	}
	w.must("down", bareFile, "--yes")
	w.nothingLeft()
}

// TestSeveralRunsAtOnce do not collide.
func TestSeveralRunsAtOnce(t *testing.T) {
	w := newWorld(t)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if code, out, _ := w.run("run", bareFile, "--", "true"); code != 0 {
				t.Errorf("exit %d\n%s", code, out)
			}
		})
	}
	group.Wait()
	w.nothingLeft()
}
