// Package faults runs the real command against simulated clusters and does to it what happens to commands:
// it is killed, interrupted, started twice, given a stack that does not come up. See docs/exit-codes.md for
// what it must answer.
package faults

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok"
	"github.com/rekindle-dev/rekindle/providers/kwok/supervise"
	"github.com/rekindle-dev/rekindle/test/repos"
)

// binary is the command under test, built once for the package.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rekindle-faults-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		binary = filepath.Join(dir, "rekindle")
		// The flags of make build, whose cache it shares.
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "github.com/rekindle-dev/rekindle/cmd/rekindle")
		build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the command:", err)
		return 1
	}
	return m.Run()
}

// world is one user's machine: a checkout of the sample repository, served, and a home folder.
type world struct {
	t    *testing.T
	repo *repos.Repo
	home string
	key  string
	env  []string // of the command, beside this process's
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{t: t, repo: repos.New(t), home: t.TempDir()}
	var err error
	if w.key, err = w.repo.Key(); err != nil {
		t.Fatal(err)
	}
	folder, err := gitrepo.FollowFolder(t.Context(), w.repo.Dir)
	if err != nil {
		t.Fatal(err)
	}
	server, err := gitrepo.Serve(t.Context(), folder, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := w.repo.Replace("clusters/dev/cluster.yaml", "https://git.example.com/acme/shop.git", server.URL()); err != nil {
		t.Fatal(err)
	}
	w.commit(map[string]string{"clusters/dev/bare.yaml": bare})
	t.Cleanup(w.away)
	return w
}

// bare is a cluster with nothing in it.
const bare = `apiVersion: rekindle.dev/v1alpha1
kind: Cluster
metadata: {name: bare}
spec:
  provider:
    kwok: {}
`

func (w *world) commit(files map[string]string) {
	w.t.Helper()
	if _, err := w.repo.Commit("Change it", files); err != nil {
		w.t.Fatal(err)
	}
}

// away removes whatever the test left, so that no process outlives it.
func (w *world) away() {
	provider, err := kwok.New(kwok.Options{State: filepath.Join(w.home, "rekindle"), Supervisor: []string{binary, "supervise"}})
	if err != nil {
		w.t.Error(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all, err := provider.List(ctx)
	for _, c := range all {
		err = errors.Join(err, provider.Delete(ctx, c.Ref, nil))
	}
	if err != nil {
		w.t.Error(err)
	}
}

func (w *world) cmd(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = w.repo.Dir
	cmd.Env = append(os.Environ(), "SOPS_AGE_KEY="+w.key, "KUBECONFIG="+w.kubeconfig(), "XDG_STATE_HOME="+w.home)
	cmd.Env = append(cmd.Env, w.env...)
	return cmd
}

func (w *world) kubeconfig() string { return filepath.Join(w.home, "kubeconfig") }

// run runs the command to its end and gives its exit code, what it printed, and its report.
func (w *world) run(args ...string) (code int, out string, doc report.Document) {
	w.t.Helper()
	var printed bytes.Buffer
	cmd := w.cmd(w.t.Context(), asJSON(args)...)
	cmd.Stdout, cmd.Stderr = &printed, &printed
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		w.t.Fatal(err)
	}
	out = printed.String()
	w.noKey(out)
	return cmd.ProcessState.ExitCode(), out, lastLine(w.t, out)
}

// asJSON puts the flag behind the command's name: what follows -- is not ours.
func asJSON(args []string) []string { return append([]string{args[0], "-o", "json"}, args[1:]...) }

// must runs the command and wants exit code 0.
func (w *world) must(args ...string) report.Document {
	w.t.Helper()
	code, out, doc := w.run(args...)
	if code != 0 {
		w.t.Fatalf("rekindle %v: exit %d\n%s", args, code, out)
	}
	return doc
}

func (w *world) noKey(out string) {
	w.t.Helper()
	if strings.Contains(out, w.key) {
		w.t.Error("the key was printed")
	}
}

func lastLine(t *testing.T, out string) report.Document {
	t.Helper()
	var doc report.Document
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &doc); err != nil || doc.Type != "report" {
		t.Fatalf("the last line is no report (%v)\n%s", err, out)
	}
	return doc
}

// event is one line of -o json.
type event struct {
	Type  string
	Name  string // of the plan, on the line that begins it
	Step  string
	Phase string
	Steps []struct{ ID string }
}

// moment is a boundary of a step.
type moment struct{ step, phase string }

func (m moment) String() string { return m.step + " " + m.phase }

// strike runs the command and sends it a signal at a moment. hit says whether the moment came.
func (w *world) strike(at moment, signal syscall.Signal, args ...string) (code int, out string, hit bool) {
	w.t.Helper()
	return w.strikeWhen(func(_ string, e event) bool { return e.Step == at.step && e.Phase == at.phase }, signal, args...)
}

// strikeWhen sends the signal at the first event, of a plan with that name, for which when is true. The command waits there: it is
// at most one event ahead, so that when must not wait for what comes after.
func (w *world) strikeWhen(when func(plan string, e event) bool, signal syscall.Signal, args ...string) (code int, out string, hit bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := w.cmd(ctx, asJSON(args)...)
	stdout, theirs := narrowPipe(w.t)
	defer stdout.Close()
	cmd.Stdout = theirs
	err := cmd.Start()
	_ = theirs.Close() // it is the command's
	if err != nil {
		w.t.Fatal(err)
	}
	var text strings.Builder
	name := ""
	for lines := linesOf(stdout); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		if e.Type == "begin" {
			name = e.Name
		}
		if !hit && e.Type == "event" && when(name, e) {
			hit = true
			if err := cmd.Process.Signal(signal); err != nil {
				w.t.Errorf("%s: %s %s: %v", name, e.Step, e.Phase, err)
			}
		}
	}
	_ = cmd.Wait() // its exit code is what is looked at
	w.noKey(text.String())
	return cmd.ProcessState.ExitCode(), text.String(), hit
}

// linesOf reads lines, each read with room for a page: of what is written into a narrow pipe at once, the rest is lost.
func linesOf(r io.Reader) *bufio.Scanner {
	lines := bufio.NewScanner(bufio.NewReaderSize(r, 1<<16))
	lines.Buffer(nil, 16<<20)
	return lines
}

// planned are the boundaries of all steps of prepare and up, from what plan prints, in its order.
func planned(t *testing.T, out string) []moment {
	t.Helper()
	var all []moment
	for line := range strings.Lines(out) {
		var e event
		if json.Unmarshal([]byte(line), &e) != nil || e.Type != "plan" && !strings.HasPrefix(e.Name, "prepare ") {
			continue
		}
		for _, st := range e.Steps {
			all = append(all, moment{st.ID, "running"}, moment{st.ID, "succeeded"})
		}
	}
	if len(all) < 50 {
		t.Fatalf("only the moments %v of\n%s", all, out)
	}
	return all
}

// config is that of the context that up added.
func (w *world) config(name string) *rest.Config {
	w.t.Helper()
	config, err := w.tryConfig(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return config
}

func (w *world) tryConfig(name string) (*rest.Config, error) {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: w.kubeconfig()},
		&clientcmd.ConfigOverrides{CurrentContext: "kwok-" + name}).ClientConfig()
}

// giveLease has another run hold the lease of a cluster.
func (w *world) giveLease(name, holder string) {
	w.t.Helper()
	leases := w.client(name).CoordinationV1().Leases("kube-system")
	for {
		lease, err := leases.Get(w.t.Context(), "rekindle", metav1.GetOptions{})
		if err == nil {
			now := metav1.NowMicro()
			lease.Spec.HolderIdentity, lease.Spec.RenewTime = &holder, &now
			_, err = leases.Update(w.t.Context(), lease, metav1.UpdateOptions{})
		}
		if apierrors.IsConflict(err) { // the run has renewed it
			continue
		}
		if err != nil {
			w.t.Fatal(err)
		}
		return
	}
}

// holder is who holds the lease of a cluster.
func (w *world) holder(name string) string {
	w.t.Helper()
	lease, err := w.client(name).CoordinationV1().Leases("kube-system").Get(w.t.Context(), "rekindle", metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil {
		w.t.Fatalf("the lease of %s: %+v, %v", name, lease, err)
	}
	return *lease.Spec.HolderIdentity
}

// client reaches a cluster by the context that up added.
func (w *world) client(name string) kubernetes.Interface {
	w.t.Helper()
	client, err := kubernetes.NewForConfig(w.config(name))
	if err != nil {
		w.t.Fatal(err)
	}
	return client
}

// existsOnce wants one cluster, one deployed revision of each release, and one set of Flux's objects.
func (w *world) existsOnce(name string) {
	w.t.Helper()
	if folders := w.clusters(); len(folders) != 1 || folders[0] != name {
		w.t.Errorf("the clusters are %v", folders)
	}
	secrets, err := w.client(name).CoreV1().Secrets("").List(w.t.Context(), metav1.ListOptions{LabelSelector: "owner=helm"})
	if err != nil {
		w.t.Fatal(err)
	}
	deployed := map[string]int{}
	for _, s := range secrets.Items {
		switch s.Labels["status"] {
		case "deployed":
			deployed[s.Labels["name"]]++
		case "superseded", "failed", "uninstalled":
		default:
			w.t.Errorf("release %s revision %s is left in %s", s.Labels["name"], s.Labels["version"], s.Labels["status"])
		}
	}
	if len(deployed) != 8 {
		w.t.Errorf("the releases are %v", deployed)
	}
	for release, n := range deployed {
		if n != 1 {
			w.t.Errorf("release %s is deployed %d times", release, n)
		}
	}
}

// clusters are the folders of the kwok provider, half-made ones too.
func (w *world) clusters() []string {
	w.t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.home, "rekindle", "clusters"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// nothingLeft wants no cluster, no record of a run, no context and no process.
func (w *world) nothingLeft() {
	w.t.Helper()
	if left := w.clusters(); len(left) > 0 {
		w.t.Errorf("clusters are left: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(w.home, "rekindle", "runs", "*")); len(left) > 0 {
		w.t.Errorf("records of runs are left: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(w.home, "rekindle", "locks", "*")); len(left) > 0 {
		w.t.Errorf("locks are left: %v", left)
	}
	if raw, err := os.ReadFile(w.kubeconfig()); err == nil && strings.Contains(string(raw), "kwok-") {
		w.t.Errorf("a context is left:\n%s", raw)
	}
	// A supervisor lets go of the folder before it ends.
	w.until("no process is left", func(context.Context) (bool, string, error) {
		left := w.processes()
		return len(left) == 0, strings.Join(left, "; "), nil
	})
}

// processes are those that work in the home folder.
func (w *world) processes() []string {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var all []string
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err == nil && bytes.Contains(raw, []byte(filepath.Join(w.home, "rekindle"))) {
			all = append(all, strings.ReplaceAll(string(raw), "\x00", " "))
		}
	}
	return all
}

// pause stops a host process of a cluster, of the kwok provider whose folder is given, until the function is called: it would undo
// what a test does by hand, or do by itself what a command is to foretell.
func pause(t *testing.T, state, cluster, program string) (back func()) {
	t.Helper()
	status, err := supervise.Folder{Path: filepath.Join(state, "clusters", cluster)}.Status()
	pid := status.Processes["host-"+program].Pid
	if err != nil || pid == 0 {
		t.Fatalf("%s of %s does not run: %+v, %v", program, cluster, status, err)
	}
	signal := func(s syscall.Signal) {
		if err := syscall.Kill(pid, s); err != nil {
			t.Errorf("signal %s: %v", program, err)
		}
	}
	signal(syscall.SIGSTOP)
	var once sync.Once
	back = func() { once.Do(func() { signal(syscall.SIGCONT) }) }
	t.Cleanup(back)
	return back
}

// writesSince are the writes that the command made to the cluster's API server, by its audit log, which has
// none of leases.
func (w *world) writesSince(name string, since time.Time) []string {
	w.t.Helper()
	provider, err := kwok.New(kwok.Options{State: filepath.Join(w.home, "rekindle")})
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := os.ReadFile(provider.AuditLog(providers.Ref{Provider: kwok.Name, Name: name}))
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	seen := 0
	for line := range bytes.Lines(raw) {
		var e struct {
			RequestReceivedTimestamp time.Time
			User                     struct{ Username string }
			Verb, RequestURI, Stage  string
		}
		if err := json.Unmarshal(line, &e); err != nil {
			w.t.Fatal(err)
		}
		if e.User.Username != "rekindle" || e.Stage != "ResponseComplete" {
			continue
		}
		seen++
		if e.RequestReceivedTimestamp.After(since) && !strings.Contains(e.RequestURI, "dryRun=All") {
			all = append(all, e.Verb+" "+e.RequestURI)
		}
	}
	if seen == 0 {
		w.t.Fatal("the audit log has no write of the first run: it does not tell")
	}
	return all
}
