//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/wait"
)

const bareKind = `apiVersion: rekindle.dev/v1alpha1
kind: Cluster
metadata: {name: gone}
spec:
  provider:
    kind: {config: kind.yaml}
`

// TestGCCollectsWhatAKilledRunLeft on kind, to the last container, volume and file: of a run that was killed while its
// cluster was being made, and of one that was killed beside its command, whose TTL is then over.
func TestGCCollectsWhatAKilledRunLeft(t *testing.T) {
	w := newWorldOf(t, "gone-unused", func(w *world) {
		w.otherPort("8090")
		if _, err := w.repo.Commit("Add a bare cluster", map[string]string{"clusters/prod/bare.yaml": bareKind}); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { w.gc(context.Background(), "--dead") }) // whatever became of the test

	w.killed(w.boots, "true")
	volumes := w.volumes()
	w.gc(t.Context(), "--dead")
	w.nothingOfRuns(volumes)

	command := filepath.Join(w.home, "command")
	w.killed(exists(command), "sh", "-c", `echo $$ >`+command+`; exec sleep 600`)
	killed := time.Now() // the TTL began before
	w.endCommand(command)
	volumes = w.volumes()
	w.gc(t.Context())
	if w.made() == "" {
		t.Error("gc took a cluster before its TTL was over")
	}
	if err := wait.Sleep(t.Context(), ttl-time.Since(killed)+time.Second); err != nil {
		t.Fatal(err)
	}
	// Another machine has no record of the run: what is on the containers is enough.
	mine := w.home
	w.home = t.TempDir()
	w.gc(t.Context())
	if left := w.made(); left != "" {
		t.Errorf("another machine's gc left %s", left)
	}
	w.home = mine
	w.gc(t.Context())
	w.nothingOfRuns(volumes)
}

// ttl is longer than it takes to make a cluster while other tests make theirs.
const ttl = 3 * time.Minute

// killed begins a run around a command, and kills it when something is there.
func (w *world) killed(there func(context.Context) (bool, string, error), command ...string) {
	w.t.Helper()
	w.killedWhen(ttl, there, append([]string{"run", "clusters/prod/bare.yaml", "--ttl", ttl.String(), "--"}, command...)...)
}

// killedWhen begins a command of rekindle, and kills it when something is there, which it has to be within the limit.
func (w *world) killedWhen(limit time.Duration, there func(context.Context) (bool, string, error), args ...string) {
	w.t.Helper()
	run := w.cmd(w.t.Context(), args...)
	if err := run.Start(); err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = run.Wait() }() // it was killed
	defer func() { _ = run.Process.Kill() }()
	ctx, cancel := context.WithTimeout(w.t.Context(), limit)
	defer cancel()
	if err := wait.Poll(ctx, wait.Func("the moment to kill", there), 50*time.Millisecond, nil); err != nil {
		w.t.Fatal(err)
	}
}

// boots says whether the node of a run's cluster runs; it takes some seconds more to be one of Kubernetes.
func (w *world) boots(context.Context) (bool, string, error) {
	return docker(w.t, "ps", "--quiet", "--filter", "name=^gone-run-") != "", "", nil
}

func exists(file string) func(context.Context) (bool, string, error) {
	return func(context.Context) (bool, string, error) {
		raw, err := os.ReadFile(file)
		return err == nil && len(raw) > 0, "", nil
	}
}

// endCommand ends the command of a run, which outlives it.
func (w *world) endCommand(file string) {
	w.t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		w.t.Error(err)
	}
}

// gc runs gc on kind and wants that it ends well.
func (w *world) gc(ctx context.Context, args ...string) {
	w.t.Helper()
	if out, code := w.command(ctx, append([]string{"gc", "--provider", "kind"}, args...)...); code != 0 {
		w.t.Errorf("gc: exit %d\n%s", code, out)
	}
}

// made are the containers of the test's runs.
func (w *world) made() string {
	w.t.Helper()
	return docker(w.t, "ps", "--all", "--quiet", "--filter", "name=^gone-run-")
}

// volumes are those of the containers.
func (w *world) volumes() []string {
	w.t.Helper()
	format := `{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}`
	all := strings.Fields(docker(w.t, append([]string{"inspect", "--format", format}, strings.Fields(w.made())...)...))
	if len(all) == 0 {
		w.t.Error("the containers have no volume")
	}
	return all
}

// nothingOfRuns wants no container, no such volume, no record of a run and no context.
func (w *world) nothingOfRuns(volumes []string) {
	w.t.Helper()
	if left := w.made(); left != "" {
		w.t.Errorf("containers are left: %s", left)
	}
	have := strings.Fields(docker(w.t, "volume", "ls", "--quiet"))
	for _, volume := range volumes {
		for _, one := range have {
			if one == volume {
				w.t.Errorf("volume %s is left", volume)
			}
		}
	}
	for _, folder := range []string{"runs", "clusters"} {
		if left, _ := filepath.Glob(filepath.Join(w.home, "rekindle", folder, "*")); len(left) > 0 {
			w.t.Errorf("files are left: %v", left)
		}
	}
	if raw, err := os.ReadFile(w.kubeconfig); err == nil && strings.Contains(string(raw), "gone") {
		w.t.Errorf("a context is left:\n%s", raw)
	}
	if networks := docker(w.t, "network", "ls", "--format", "{{.Name}}", "--filter", "name=gone"); networks != "" {
		w.t.Errorf("networks are left: %s", networks)
	}
}
