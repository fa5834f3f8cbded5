//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle/internal/gitrepo"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/test/lab"
	"github.com/rekindle-dev/rekindle/test/lab/labtest"
	"github.com/rekindle-dev/rekindle/test/repos"
)

// world is one checkout of the sample repository, served to the cluster, and the command that works on it.
type world struct {
	t          *testing.T
	env        *lab.Env
	repo       *repos.Repo
	binary     string
	home       string
	kubeconfig string
	key        string
	name       string   // of the cluster
	vars       []string // of the command's environment, beside this process's
}

// statePassword is that of the repositories of state.
const statePassword = "RESTIC_PASSWORD=correct horse battery staple"

// newWorld serves the sample repository where pods reach it, and points its prod cluster there.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, "shop-prod", nil)
}

// newWorldOf does so for a cluster of another name, with edits of the repository. The test runs beside others from here on:
// its clusters and its ports on this machine have to be its own.
func newWorldOf(t *testing.T, name string, edit func(w *world)) *world {
	t.Helper()
	labtest.Parallel(t)
	w := &world{t: t, env: labtest.Require(t), repo: repos.New(t), binary: binary(t), home: t.TempDir(), name: name}
	w.kubeconfig = filepath.Join(w.home, "kubeconfig")
	var err error
	if w.key, err = w.repo.Key(); err != nil {
		t.Fatal(err)
	}
	folder, err := gitrepo.FollowFolder(t.Context(), w.repo.Dir)
	if err != nil {
		t.Fatal(err)
	}
	server, err := gitrepo.Serve(t.Context(), folder, w.env.Gateway+":0")
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
	w.replace("clusters/prod/cluster.yaml", "https://git.example.com/acme/shop.git", server.URL())
	w.replace("clusters/prod/cluster.yaml", "interval: 1m", "interval: 5s")
	w.replace("clusters/prod/cluster.yaml", "metadata: {name: shop-prod}", "metadata: {name: "+name+"}")
	if edit != nil {
		edit(w)
	}
	if err := w.env.WriteKindConfig(w.repo.Path("clusters/prod/kind.yaml")); err != nil {
		t.Fatal(err)
	}
	w.commit("Follow the repository where it is served")
	w.remove() // what a killed run of this test left
	t.Cleanup(w.remove)
	return w
}

// binary is the command under test: built by make, or named by REKINDLE.
func binary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("REKINDLE")
	if path == "" {
		path = "../../bin/rekindle"
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(abs); err != nil {
		t.Fatalf("%v: make build makes it", err)
	}
	return abs
}

func (w *world) replace(file, old, text string) {
	w.t.Helper()
	if err := w.repo.Replace(file, old, text); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) commit(message string) string {
	w.t.Helper()
	commit, err := w.repo.Commit(message, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return commit
}

// remove takes the cluster away whatever became of the test.
func (w *world) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, code := w.command(ctx, "down", "clusters/prod/cluster.yaml", "--yes", "--abandon-migration")
	if code != 0 {
		w.t.Errorf("the last down: exit %d\n%s", code, out)
	}
}

// cmd is the command, in the checkout and with what it knows of this user.
func (w *world) cmd(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.binary, args...)
	cmd.Dir = w.repo.Dir
	cmd.Env = append(append(os.Environ(), "SOPS_AGE_KEY="+w.key, "KUBECONFIG="+w.kubeconfig, "XDG_STATE_HOME="+w.home), w.vars...)
	return cmd
}

// command runs the command and gives what it printed.
func (w *world) command(ctx context.Context, args ...string) (string, int) {
	cmd := w.cmd(ctx, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out.String(), 0
	case errors.As(err, &exit):
		return out.String(), exit.ExitCode()
	}
	return out.String() + err.Error(), -1
}

// run runs a command of the shop's cluster with -o json, wants an exit code, and gives the report.
func (w *world) run(code int, name string, args ...string) report.Document {
	w.t.Helper()
	args = append([]string{name, "clusters/prod/cluster.yaml", "-o", "json"}, args...)
	out, got := w.command(w.t.Context(), args...)
	if w.key != "" && strings.Contains(out, w.key) {
		w.t.Errorf("%s printed the key", name)
	}
	return w.judge(name, code, got, out)
}

// judge reads the report of a command that ran with -o json, and ends the test where it ended otherwise than it should: with why
// first, as much of the rest may be cut off by what shows it.
func (w *world) judge(what string, code, got int, out string) report.Document {
	w.t.Helper()
	doc := lastLine(w.t, out)
	w.t.Logf("%s: exit %d, %s in %.1f s, %d changes, critical path %v", what, got, doc.Result, doc.Seconds, doc.Changes, doc.CriticalPath)
	if got != code {
		w.t.Fatalf("%s: exit %d, want %d: %s\n%s\n%s", what, got, code, faults(doc), labtest.Nodes(), telling(out))
	}
	return doc
}

// telling are the events but those that say that a step goes on.
func telling(out string) string {
	var lines []string
	for line := range strings.Lines(out) {
		var e struct{ Type, Phase, Note, Warning string }
		if json.Unmarshal([]byte(line), &e) == nil && (e.Type == "begin" || e.Phase == "running" && e.Note == "" && e.Warning == "") {
			continue
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}

func lastLine(t *testing.T, out string) report.Document {
	t.Helper()
	var doc report.Document
	last := ""
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		last = lines.Text()
	}
	if err := json.Unmarshal([]byte(last), &doc); err != nil || doc.Type != "report" {
		t.Fatalf("the last line is no report (%v): %s\n%s", err, last, out)
	}
	return doc
}

// client reaches the cluster by the context that up added.
func (w *world) client() kubernetes.Interface {
	w.t.Helper()
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: w.kubeconfig}
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
		&clientcmd.ConfigOverrides{CurrentContext: "kind-" + w.name}).ClientConfig()
	if err != nil {
		w.t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return client
}

// until waits for something that the cluster does by itself.
func (w *world) until(what string, limit time.Duration, check func(ctx context.Context) (bool, string, error)) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), limit)
	defer cancel()
	if err := wait.Poll(ctx, wait.Func(what, check), time.Second, nil); err != nil {
		w.t.Fatal(err)
	}
}

// docker runs docker and gives what it printed.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func faults(doc report.Document) string {
	var all []string
	for _, f := range doc.Faults {
		all = append(all, fmt.Sprintf("%s (%s)", f.Error, strings.Join(f.Hints, "; ")))
	}
	return strings.Join(all, "\n")
}
