package kwok_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

// etcdOnHost is a second etcd: the smallest of the programs that can be run, and it has a health page.
func etcdOnHost(name string) providers.HostProcess {
	return providers.HostProcess{
		Name: name, Asset: "etcd",
		Args: []string{
			"--data-dir={{.Dir}}/data", "--name={{.Kubeconfig}}",
			`--listen-client-urls=http://127.0.0.1:{{.Port "` + name + `"}}`, `--advertise-client-urls=http://127.0.0.1:{{.Port "` + name + `"}}`,
			`--listen-peer-urls=http://127.0.0.1:{{.Port "` + name + `-peer"}}`, `--initial-advertise-peer-urls=http://127.0.0.1:{{.Port "` + name + `-peer"}}`,
			`--initial-cluster={{.Kubeconfig}}=http://127.0.0.1:{{.Port "` + name + `-peer"}}`,
		},
		Env:   map[string]string{"ETCD_LOG_LEVEL": "error"},
		Ready: `http://127.0.0.1:{{.Port "` + name + `"}}/health`,
	}
}

func runOnHost(t *testing.T, p *kwok.Provider, want plan.Outcome, procs ...providers.HostProcess) {
	t.Helper()
	got, err := p.RunOnHost(t.Context(), ref("host"), procs, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("the outcome is %q, not %q", got, want)
	}
}

func TestRunOnHost(t *testing.T) {
	state := t.TempDir()
	t.Setenv("GIT_PASSWORD", "hunter2")
	p := mustProvider(t, state, 1)
	t.Cleanup(func() { deleteCluster(t, p, "host") })
	if _, err := p.RunOnHost(t.Context(), ref("host"), nil, nil); err == nil {
		t.Error("a cluster that does not exist runs something")
	}
	if _, err := p.Ensure(t.Context(), providers.Spec{Name: "host"}, nil); err != nil {
		t.Fatal(err)
	}
	before := processes(t, state, "host")
	runOnHost(t, p, plan.Unchanged)
	runOnHost(t, p, plan.Changed, etcdOnHost("one"), etcdOnHost("two"))
	both := processes(t, state, "host")
	for process, pid := range before {
		if both[process] != pid {
			t.Errorf("%s was restarted", process)
		}
	}
	runOnHost(t, p, plan.Unchanged, etcdOnHost("one"), etcdOnHost("two"))
	if _, err := os.Stat(filepath.Join(state, "clusters", "host", "host", "one", "data")); err != nil {
		t.Errorf("its own folder: %v", err)
	}
	if again, err := p.Ensure(t.Context(), providers.Spec{Name: "host"}, nil); err != nil || again.Outcome != plan.Unchanged {
		t.Errorf("ensure: %+v, %v", again, err)
	}
	if now, err := p.OnHost(t.Context(), ref("host")); err != nil || len(now) != 2 || now[0].Name != "one" || now[1].Name != "two" {
		t.Errorf("on the host: %+v, %v", now, err)
	}
	larger := mustProvider(t, state, 3)
	changes, err := larger.Foresee(t.Context(), providers.Spec{Name: "host"})
	if err != nil || strings.Join(changes, ", ") != "add node node-2, add node node-3" {
		t.Errorf("two nodes more: %q, %v", changes, err)
	}

	changed := etcdOnHost("two")
	changed.Env = map[string]string{"ETCD_LOG_LEVEL": "warn"}
	runOnHost(t, p, plan.Changed, etcdOnHost("one"), changed)
	now := processes(t, state, "host")
	if now["host-one"] != both["host-one"] || now["host-two"] == both["host-two"] {
		t.Errorf("before %v, after the change of one of them %v", both, now)
	}

	// After a restart of the machine they run again.
	if err := syscall.Kill(supervisorOf(t, state, "host")[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if again, err := p.Ensure(t.Context(), providers.Spec{Name: "host"}, nil); err != nil || again.Outcome != plan.Adopted {
		t.Fatalf("ensure: %+v, %v", again, err)
	}
	runOnHost(t, p, plan.Unchanged, etcdOnHost("one"), changed)

	runOnHost(t, p, plan.Changed, etcdOnHost("one"))
	if last := processes(t, state, "host"); last["host-one"] == 0 || last["host-two"] != 0 {
		t.Errorf("after one was taken away: %v", last)
	}
	checkEnvironment(t, state, "hunter2")
	if info, err := os.Stat(filepath.Join(state, "clusters", "host")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may look into the folder: %v, %v", info, err)
	}
	checkBroken(t, p)
}

func TestRunOnHostRefusesNonsense(t *testing.T) {
	p := kwoktest.Provider(t)
	for what, proc := range map[string]providers.HostProcess{
		"no such program":  {Name: "x", Asset: "x"},
		"broken template":  {Name: "x", Asset: "etcd", Args: []string{"{{.Nothing}}"}},
		"name with slash":  {Name: "../x", Asset: "etcd"},
		"unclosed in env":  {Name: "x", Asset: "etcd", Env: map[string]string{"A": "{{"}},
		"broken ready URL": {Name: "x", Asset: "etcd", Ready: "{{.Port}}"},
	} {
		if _, err := p.RunOnHost(t.Context(), ref("host"), []providers.HostProcess{proc}, nil); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// checkBroken runs a process that ends at once.
func checkBroken(t *testing.T, p *kwok.Provider) {
	t.Helper()
	broken := etcdOnHost("broken")
	broken.Args = append(broken.Args, "--no-such-flag")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := p.RunOnHost(ctx, ref("host"), []providers.HostProcess{broken}, nil)
	if err == nil || !strings.Contains(err.Error(), "host-broken does not stay up") {
		t.Errorf("got %v", err)
	}
	if hints := strings.Join(fault.Hints(err), " "); !strings.Contains(hints, "host-broken.log") {
		t.Errorf("hints %q", hints)
	}
}

// checkEnvironment looks at what the processes of a cluster got from the environment.
func checkEnvironment(t *testing.T, state, secret string) {
	t.Helper()
	pids := supervisorOf(t, state, "host")
	for _, pid := range processes(t, state, "host") {
		pids = append(pids, pid)
	}
	for _, pid := range pids {
		raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), secret) {
			t.Errorf("process %d has the secret", pid)
		}
	}
}

func TestLoopbackIsNotEnough(t *testing.T) {
	c := kwoktest.Shared(t)
	for _, address := range []string{c.REST.Host + "/api/v1/secrets", c.REST.Host + "/version"} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		resp, err := client.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s answers %s without a certificate", address, resp.Status)
		}
	}
}
