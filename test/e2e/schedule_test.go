//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/test/repos"
)

// TestScheduledSnapshots has a cluster take snapshots by itself, with nobody near, and comes back from one.
func TestScheduledSnapshots(t *testing.T) {
	w, repository := newScheduledWorld(t)
	w.run(0, "up")
	if doc := w.run(0, "up"); doc.Changes != 0 {
		t.Errorf("a second up made %d changes", doc.Changes)
	}
	first := w.kubectl("exec", "--namespace=app", "app-0", "--", "cat", "/data/first")
	var set state.Summary
	w.until("the cluster has taken a set by itself", 4*time.Minute, func(ctx context.Context) (bool, string, error) {
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
	w, where := newStatefulWorld(t, repos.Stateful{
		Name: "sched-prod", Size: "64Mi",
		Script: "test -e /data/first || date +%s%N >/data/first; touch /tmp/ready; exec sleep 100000",
	}, `, schedule: "* * * * *"`, func(server string) string { return server })
	cache, err := assets.Open("")
	if err != nil {
		t.Fatal(err)
	}
	restic, err := cache.Get(t.Context(), state.ResticAsset(), nil)
	if err != nil {
		t.Fatal(err)
	}
	repository, err := state.Open(state.Settings{
		Repository: where, Password: []byte("correct horse battery staple"), Env: state.Credentials(where, w.vars), Restic: restic, Cluster: w.name,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, repository
}
