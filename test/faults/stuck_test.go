package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stuck is a stack whose second release cannot be scheduled: no node has that label.
const stuck = `apiVersion: rekindle.dev/v1alpha1
kind: Stack
metadata: {name: stuck}
releases:
  - {name: good, namespace: apps, chart: ../charts/plain}
  - name: stuck
    namespace: apps
    chart: ../charts/stuck
    timeout: 30s
  - {name: beside, namespace: apps, chart: ../charts/plain}
  - {name: after, namespace: apps, chart: ../charts/plain, needs: [stuck]}
`

// stuckFiles are the documents and charts of a cluster with that stack.
func stuckFiles() map[string]string {
	return map[string]string{
		"clusters/dev/stuck.yaml":         bare + "  stack:\n    - file: ../../stacks/stuck.yaml\n",
		"stacks/stuck.yaml":               stuck,
		"charts/stuck/Chart.yaml":         "apiVersion: v2\nname: stuck\nversion: 0.1.0\n",
		"charts/stuck/templates/all.yaml": stuckTemplate,
		"charts/plain/Chart.yaml":         "apiVersion: v2\nname: plain\nversion: 0.1.0\n",
		"charts/plain/templates/all.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\n",
	}
}

const stuckTemplate = `apiVersion: apps/v1
kind: Deployment
metadata: {name: stuck, namespace: {{ .Release.Namespace }}}
spec:
  selector: {matchLabels: {app: stuck}}
  template:
    metadata: {labels: {app: stuck}}
    spec:
      nodeSelector: {disk: holographic}
      containers: [{name: stuck, image: example.com/stuck:1}]
`

// TestAReleaseThatNeverGetsReady is told with its cause within its own timeout; the others are installed, and
// what needs it is not.
func TestAReleaseThatNeverGetsReady(t *testing.T) {
	w := newWorld(t)
	w.commit(stuckFiles())
	code, out, doc := w.run("up", "clusters/dev/stuck.yaml")
	if code != 1 || doc.Result != "failed" {
		t.Fatalf("exit %d, %s\n%s", code, doc.Result, out)
	}
	phases := map[string]string{}
	for _, st := range doc.Steps {
		phases[string(st.ID)] = fmt.Sprint(st.Phase)
		if st.ID == "release/stuck" && (st.Seconds < 29 || st.Seconds > 150) {
			t.Errorf("its timeout is 30 s, it took %.1f s", st.Seconds)
		}
		if st.ID == "release/after" && st.Cause != "release/stuck" {
			t.Errorf("release/after is not blocked by release/stuck: %+v", st)
		}
	}
	for id, want := range map[string]string{
		"release/good": "succeeded", "release/beside": "succeeded", "release/stuck": "failed", "release/after": "blocked",
	} {
		if phases[id] != want {
			t.Errorf("%s is %s, want %s", id, phases[id], want)
		}
	}
	if len(doc.Faults) != 1 || !strings.Contains(doc.Faults[0].Error, "release stuck") ||
		!strings.Contains(doc.Faults[0].Error, "didn't match Pod's node affinity/selector") {
		t.Errorf("the cause is not told: %+v", doc.Faults)
	}
	if code, out, _ := w.run("status", "clusters/dev/stuck.yaml"); code != 1 || !strings.Contains(out, "Deployment apps/stuck: 0/1 ready") {
		t.Errorf("status: exit %d\n%s", code, out)
	}
}

// TestAForeignClusterIsRefused: a folder of that name that rekindle did not make is left as it is by every command.
func TestAForeignClusterIsRefused(t *testing.T) {
	w := newWorld(t)
	folder := filepath.Join(w.home, "rekindle", "clusters", "bare")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "mine")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"up", "clusters/dev/bare.yaml"}, {"down", "clusters/dev/bare.yaml", "--yes"}, {"status", "clusters/dev/bare.yaml"}} {
		code, out, doc := w.run(args...)
		if code != 3 || doc.Result != "refused" {
			t.Errorf("%v: exit %d, %s\n%s", args, code, doc.Result, out)
		}
	}
	entries, err := os.ReadDir(folder)
	raw, readErr := os.ReadFile(file)
	if err != nil || readErr != nil || len(entries) != 1 || string(raw) != "precious" {
		t.Errorf("it was touched: %v, %q, %v, %v", entries, raw, err, readErr)
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
}

// TestTwoAtOnce: two runs of up do the work once, one after the other.
func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	var group sync.WaitGroup
	codes, outs := make([]int, 2), make([]string, 2)
	for i := range 2 {
		group.Go(func() { codes[i], outs[i], _ = w.run("up", dev) })
	}
	group.Wait()
	for i := range 2 {
		if codes[i] != 0 {
			t.Fatalf("run %d: exit %d\n%s", i, codes[i], outs[i])
		}
	}
	w.existsOnce("shop-dev")
	if doc := w.must("up", dev); doc.Changes != 0 {
		t.Errorf("one more up made %d changes", doc.Changes)
	}
	w.must("down", dev, "--yes")
	w.nothingLeft()
}

// TestALostLease: another run has the lease while this one works, as after this machine slept. It stops.
func TestALostLease(t *testing.T) {
	w := newWorld(t)
	files := stuckFiles()
	files["stacks/stuck.yaml"] = strings.Replace(stuck, "timeout: 30s", "timeout: 5m", 1)
	w.commit(files)
	const other = "far-away/7/other"
	code, out, hit := w.strikeWhen(func(_ string, e event) bool {
		if e.Step != "release/stuck" || e.Phase != "running" {
			return false
		}
		w.giveLease("bare", other)
		return true
	}, syscall.Signal(0), "up", "clusters/dev/stuck.yaml")
	doc := lastLine(t, out)
	if !hit || code != 1 || doc.Result != "failed" {
		t.Fatalf("hit: %v, exit %d, %s\n%s", hit, code, doc.Result, out)
	}
	if len(doc.Faults) != 1 || !strings.Contains(doc.Faults[0].Error, "cluster kwok/bare") || !strings.Contains(doc.Faults[0].Error, other) {
		t.Errorf("the cause is not told: %+v", doc.Faults)
	}
	for _, st := range doc.Steps {
		if id := string(st.ID); (id == "release/stuck" || id == "release/after") && fmt.Sprint(st.Phase) != "cancelled" {
			t.Errorf("%s is %s", id, st.Phase)
		}
	}
	if got := w.holder("bare"); got != other {
		t.Errorf("the lease is held by %q now", got)
	}
}

// TestAFullDisk: the state folder has no room for a cluster.
func TestAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a small file system can be mounted by root only")
	}
	w := newWorld(t)
	state := filepath.Join(w.home, "rekindle")
	if err := os.MkdirAll(state, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		w.away()
		if err := syscall.Unmount(state, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	start := time.Now()
	code, out, doc := w.run("up", "clusters/dev/bare.yaml")
	if code != 1 || doc.Result != "failed" || !strings.Contains(out, "MiB are free in "+state) {
		t.Errorf("exit %d, %s after %s\n%s", code, doc.Result, time.Since(start), out)
	}
	if code, out, _ := w.run("down", "clusters/dev/bare.yaml", "--yes"); code != 0 {
		t.Errorf("down after it: exit %d\n%s", code, out)
	}
	if left := w.clusters(); len(left) > 0 {
		t.Errorf("clusters are left: %v", left)
	}
}
