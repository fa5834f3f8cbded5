package kwok_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
	"github.com/rekindle-dev/rekindle/providers/kwok/supervise"
)

// processes gives the pids of a cluster's processes by their names.
func processes(t *testing.T, state, name string) map[string]int {
	t.Helper()
	status, err := supervise.Folder{Path: filepath.Join(state, "clusters", name)}.Status()
	if err != nil {
		t.Fatal(err)
	}
	pids := map[string]int{}
	for process, s := range status.Processes {
		pids[process] = s.Pid
	}
	return pids
}

// supervisorOf finds the process that has a cluster's folder as its argument.
func supervisorOf(t *testing.T, state, name string) (pids []int) {
	t.Helper()
	folder := filepath.Join(state, "clusters", name)
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		raw, err := os.ReadFile(line)
		if err != nil || !strings.Contains(string(raw), kwoktest.SuperviseArg) || !strings.HasSuffix(string(raw), "\x00"+folder+"\x00") {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(line, "/proc/%d/cmdline", &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// runs says whether a process exists and is no zombie.
func runs(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(raw), ") Z ")
}

// TestEnsureKilledAnywhere kills one run after the other, each a little later, on the same cluster. In
// the end there is exactly one of everything.
func TestEnsureKilledAnywhere(t *testing.T) {
	state := t.TempDir()
	p := mustProvider(t, state, 1)
	t.Cleanup(func() { deleteCluster(t, p, "crash") })
	kills := 0
	for after := time.Millisecond; other(t, playEnsure, state, "crash", 1, after); after = after * 3 / 2 {
		kills++
	}
	if kills < 8 {
		t.Errorf("only %d runs were killed", kills)
	}
	c, err := p.Ensure(t.Context(), providers.Spec{Name: "crash"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Outcome != plan.Unchanged || c.Run != "run-1" {
		t.Errorf("after a run that came to its end it is %q, run %q", c.Outcome, c.Run)
	}
	if pids := supervisorOf(t, state, "crash"); len(pids) != 1 {
		t.Errorf("supervisors: %v", pids)
	}
	for process, pid := range processes(t, state, "crash") {
		if !runs(pid) {
			t.Errorf("%s does not run", process)
		}
	}
}

func TestDeleteKilledAnywhere(t *testing.T) {
	state := t.TempDir()
	p := mustProvider(t, state, 1)
	t.Cleanup(func() { deleteCluster(t, p, "crash") })
	for after := time.Duration(0); ; after += 40 * time.Millisecond {
		if !other(t, playEnsure, state, "crash", 3, thereAndThen) {
			t.Fatal("it was not killed in the middle")
		}
		pids := processes(t, state, "crash")
		killed := other(t, playDelete, state, "crash", 1, after)
		if err := p.Delete(t.Context(), ref("crash"), nil); err != nil {
			t.Fatal(err)
		}
		for process, pid := range pids {
			if runs(pid) {
				t.Errorf("%s still runs", process)
			}
		}
		if entries, err := os.ReadDir(filepath.Join(state, "clusters")); err != nil || len(entries) != 0 {
			t.Errorf("left: %v, %v", entries, err)
		}
		if !killed {
			return
		}
	}
}

func deleteCluster(t *testing.T, p providers.Provider, name string) {
	t.Helper()
	if err := p.Delete(context.WithoutCancel(t.Context()), ref(name), nil); err != nil {
		t.Error(err)
	}
}

func TestTwoRunsAtOnce(t *testing.T) {
	state := t.TempDir()
	p := mustProvider(t, state, 1)
	t.Cleanup(func() { deleteCluster(t, p, "twice") })
	outcomes := make([]plan.Outcome, 2)
	var wg sync.WaitGroup
	for i := range outcomes {
		wg.Go(func() {
			c, err := mustProvider(t, state, 1).Ensure(t.Context(), providers.Spec{Name: "twice"}, nil)
			if err != nil {
				t.Error(err)
				return
			}
			outcomes[i] = c.Outcome
		})
	}
	wg.Wait()
	slices.Sort(outcomes)
	if !slices.Equal(outcomes, []plan.Outcome{plan.Changed, plan.Unchanged}) {
		t.Errorf("outcomes %q: one of them is to make it", outcomes)
	}
	if pids := supervisorOf(t, state, "twice"); len(pids) != 1 {
		t.Errorf("supervisors: %v", pids)
	}
}

func TestAgainWritesNothing(t *testing.T) {
	kwoktest.Shared(t)
	since := time.Now()
	c := kwoktest.Shared(t)
	if writes := kwoktest.AuditWrites(t, c, since); len(writes) != 0 || c.Outcome != plan.Unchanged {
		t.Errorf("the outcome is %q, with writes %v", c.Outcome, writes)
	}
	put(t, c, "audited")
	writes := kwoktest.AuditWrites(t, c, since)
	if len(writes) != 1 || writes[0].Verb != "create" || writes[0].Code != 201 || !strings.HasPrefix(writes[0].URI, "/api/v1/namespaces/default/configmaps") {
		t.Errorf("one write is logged as %v", writes)
	}
}

func TestFolderThatCanNotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := mustProvider(t, file, 1).Ensure(t.Context(), providers.Spec{Name: "x"}, nil)
	if err == nil || !strings.Contains(strings.Join(fault.Hints(err), ""), "XDG_STATE_HOME") {
		t.Errorf("%v, hints %v", err, fault.Hints(err))
	}
}

// TestDeath kills some of a cluster's processes, and then its supervisor: as far as the cluster can tell, that
// is the whole machine going down.
func TestDeath(t *testing.T) {
	state := t.TempDir()
	p := mustProvider(t, state, 1)
	t.Cleanup(func() { deleteCluster(t, p, "boot") })
	c, err := p.Ensure(t.Context(), providers.Spec{Name: "boot"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "kept")
	pids := processes(t, state, "boot")
	for _, process := range []string{"etcd", "kube-apiserver"} {
		if err := syscall.Kill(pids[process], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	healed, err := p.Ensure(t.Context(), providers.Spec{Name: "boot"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkKept(t, healed)

	pids = processes(t, state, "boot")
	supervisors := supervisorOf(t, state, "boot")
	if len(supervisors) != 1 || len(pids) != 5 {
		t.Fatalf("supervisors %v, processes %v", supervisors, pids)
	}
	if err := syscall.Kill(supervisors[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no process outlives its supervisor", func(context.Context) (bool, error) {
		ended, err := gone(t, state, "boot")
		return ended && !slices.ContainsFunc(slices.Collect(maps.Values(pids)), runs), err
	})
	stopped, err := p.Find(t.Context(), ref("boot"))
	if err != nil || stopped.Complete || stopped.REST != nil {
		t.Errorf("a cluster that does not run is %+v, %v", stopped, err)
	}
	again, err := p.Ensure(t.Context(), providers.Spec{Name: "boot"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again.Outcome != plan.Adopted || !again.Created.Equal(c.Created) {
		t.Errorf("it is %q, created %s", again.Outcome, again.Created)
	}
	checkKept(t, again)
}

func checkKept(t *testing.T, c *providers.Cluster) {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.REST)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("its data: %v", err)
	}
}

func put(t *testing.T, c *providers.Cluster, name string) {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.REST)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSettings(t *testing.T) {
	state := t.TempDir()
	p := mustProvider(t, state, 1)
	t.Cleanup(func() { deleteCluster(t, p, "set") })
	if _, err := p.Ensure(t.Context(), providers.Spec{Name: "set", Version: "1.37"}, nil); err != nil {
		t.Fatal(err)
	}
	for _, nodes := range []int{3, 2} {
		c, err := mustProvider(t, state, nodes).Ensure(t.Context(), providers.Spec{Name: "set"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		client, err := kubernetes.NewForConfig(c.REST)
		if err != nil {
			t.Fatal(err)
		}
		list, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) != nodes || c.Outcome != plan.Changed {
			t.Errorf("%d nodes, %v, outcome %q; %d are wanted", len(list.Items), err, c.Outcome, nodes)
		}
	}
	// A cluster of an older build, with other versions.
	file := filepath.Join(state, "clusters", "set", "cluster.json")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var mark map[string]any
	if err := json.Unmarshal(raw, &mark); err != nil {
		t.Fatal(err)
	}
	mark["specHash"], mark["version"] = "other", "v1.36.0"
	if raw, err = json.Marshal(mark); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = p.Ensure(t.Context(), providers.Spec{Name: "set"}, nil)
	if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "v1.36.0") || len(fault.Hints(err)) == 0 {
		t.Errorf("other settings: %v", err)
	}
	if err := p.Preflight(t.Context(), providers.Spec{Name: "set"}); fault.KindOf(err) != fault.Refused {
		t.Errorf("other settings, preflight: %v", err)
	}
}

// gone says whether a cluster has no supervisor any more: a process that is being killed has lost its command line
// before it lets go of its lock.
func gone(t *testing.T, state, name string) (bool, error) {
	t.Helper()
	alive, err := supervise.Folder{Path: filepath.Join(state, "clusters", name)}.Alive()
	return !alive && len(supervisorOf(t, state, name)) == 0, err
}
