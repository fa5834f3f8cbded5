//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/rest"
	"github.com/rekindle-dev/rekindle/test/lab/labtest"
	"github.com/rekindle-dev/rekindle/test/repos"
)

// scheduledFiles are a cluster with one volume, whose snapshots it takes by itself every minute.
var scheduledFiles = map[string]string{
	"cluster.yaml": `apiVersion: rekindle.dev/v1alpha1
kind: Cluster
metadata: {name: sched-prod}
spec:
  provider: {kind: {config: kind.yaml}}
  stack: [{file: stack.yaml}]
  state: {repository: REPOSITORY, password: {env: STATE_PASSWORD}, schedule: "* * * * *"}
`,
	"stack.yaml": `apiVersion: rekindle.dev/v1alpha1
kind: Stack
metadata: {name: app}
releases: [{name: app, namespace: app, chart: ./app}]
`,
	"kind.yaml":      "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n",
	"app/Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\n",
	"app/templates/app.yaml": `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: app}
spec:
  serviceName: app
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: ghcr.io/rekindle-dev/shop/postgresql:15
        command: [sh, -c, "test -e /data/first || date +%s%N >/data/first; exec sleep 100000"]
        securityContext: {runAsUser: 0}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 64Mi}}}
`,
}

// TestScheduledSnapshots has a cluster take snapshots by itself, with nobody near, and comes back from one.
func TestScheduledSnapshots(t *testing.T) {
	w, repository := newScheduledWorld(t)
	w.run(0, "up")
	if doc := w.run(0, "up"); doc.Changes != 0 {
		t.Errorf("a second up made %d changes", doc.Changes)
	}
	first := w.kubectl("exec", "--namespace=app", "app-0", "--", "cat", "/data/first")
	var set state.Summary
	w.until("the cluster has taken a set by itself", 2*time.Minute, func(ctx context.Context) (bool, string, error) {
		sets, err := repository.Sets(ctx)
		if err != nil {
			return false, "", err
		}
		i := slices.IndexFunc(sets, func(s state.Summary) bool { return s.Complete })
		if i < 0 {
			return false, fmt.Sprintf("%+v", sets), nil
		}
		set = sets[i]
		return true, "", nil
	})
	if !set.Scheduled || len(set.Claims) != 1 || set.Claims[0].Claim != "app/data-app-0" || set.Claims[0].Files != 1 {
		t.Errorf("%+v", set)
	}
	w.run(0, "status")
	if out, code := w.command(t.Context(), "snapshots", "clusters/prod/cluster.yaml"); code != 0 || !strings.Contains(out, set.ID) {
		t.Errorf("snapshots: exit %d\n%s", code, out)
	}
	docker(t, "rm", "--force", "--volumes", w.name+"-control-plane") // it is lost
	if doc := w.run(0, "rebuild", "--at", set.ID); doc.Result != "proven" {
		t.Errorf("rebuild: %s", doc.Result)
	}
	if again := w.kubectl("exec", "--namespace=app", "app-0", "--", "cat", "/data/first"); again != first || first == "" {
		t.Errorf("%q came back as %q", first, again)
	}
	if jobs := w.kubectl("get", "cronjobs", "--namespace=app", "--output=name"); !strings.Contains(jobs, "rekindle-data-app-0-") {
		t.Errorf("the cluster that came back takes no snapshots: %q", jobs)
	}
}

// newScheduledWorld writes the files, and serves a repository of state to the cluster.
func newScheduledWorld(t *testing.T) (*world, *state.Repository) {
	t.Helper()
	w := &world{t: t, env: labtest.Require(t), repo: &repos.Repo{Dir: t.TempDir()}, binary: binary(t), home: t.TempDir(), name: "sched-prod", key: "no key"}
	w.kubeconfig = filepath.Join(w.home, "kubeconfig")
	server, err := rest.Serve(t.Context(), filepath.Join(w.home, "state"), w.env.Gateway+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	at, err := url.Parse(strings.TrimPrefix(server.Repository(), "rest:"))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := at.User.Password()
	t.Setenv("RESTIC_REST_USERNAME", at.User.Username())
	t.Setenv("RESTIC_REST_PASSWORD", password)
	t.Setenv("STATE_PASSWORD", "correct horse battery staple")
	at.User = nil
	where := "rest:" + at.String()
	for name, text := range scheduledFiles {
		file := filepath.Join(w.repo.Dir, "clusters/prod", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "REPOSITORY", where)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.env.WriteKindConfig(filepath.Join(w.repo.Dir, "clusters/prod/kind.yaml")); err != nil {
		t.Fatal(err)
	}
	cache, err := assets.Open("")
	if err != nil {
		t.Fatal(err)
	}
	restic, err := cache.Get(t.Context(), state.ResticAsset(), nil)
	if err != nil {
		t.Fatal(err)
	}
	repository, err := state.Open(state.Settings{
		Repository: where, Password: []byte("correct horse battery staple"), Env: state.Credentials(where, os.Environ()), Restic: restic, Cluster: w.name,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.remove()
	t.Cleanup(w.remove)
	return w, repository
}
