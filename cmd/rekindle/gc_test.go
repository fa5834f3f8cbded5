package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/runs"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// TestGCTakesOnlyWhatIsDue has every kind of cluster and record that gc can meet.
func TestGCTakesOnlyWhatIsDue(t *testing.T) {
	simulated, err := kwok.New(kwok.Options{State: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	past, future := now.Add(-time.Minute), now.Add(time.Minute)
	cluster := func(name, run string, expires time.Time) *providers.Cluster {
		return &providers.Cluster{Ref: providers.Ref{Provider: kwok.Name, Name: name}, Run: run, Expires: expires, Complete: true}
	}
	clusters := []*providers.Cluster{
		cluster("stays", "", time.Time{}), cluster("past", "p", past), cluster("young", "y", future), cluster("dead", "d", future), cluster("kept", "k", future),
	}
	record := func(provider, id, name string, expires time.Time, kept bool) *runs.Old {
		old := &runs.Old{}
		old.Record = runs.Record{ID: id, Provider: provider, Cluster: name, Expires: expires, Kept: kept}
		return old
	}
	old := []*runs.Old{
		record(kwok.Name, "d", "dead", future, false), record(kwok.Name, "k", "kept", future, true),
		record(kwok.Name, "g", "gone", future, false), record("kind", "o", "other", past, false),
	}
	for name, c := range map[string]struct {
		options gcOptions
		want    string
	}{
		"as it is":      {gcOptions{}, "kwok/gone kwok/past"},
		"the dead too":  {gcOptions{dead: true}, "kwok/dead kwok/gone kwok/past"},
		"one kept":      {gcOptions{run: "k"}, "kwok/gone kwok/kept kwok/past"},
		"one that runs": {gcOptions{run: "y"}, "kwok/gone kwok/past kwok/young"},
	} {
		p := plan.New("gc")
		collectable(p, named{kwok.Name, "", simulated}, clusters, old, c.options, now)
		var ids []string
		for _, s := range p.Steps() {
			ids = append(ids, string(s.ID))
		}
		slices.Sort(ids)
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestAProviderThatIsNoneIsBadUsage(t *testing.T) {
	for _, command := range []string{"list", "gc"} {
		if code, out := call(t, command, "--provider", "vmware"); code != fault.ExitUsage || !strings.Contains(out, "use kwok, kind or gke") {
			t.Errorf("%s: exit code %d with:\n%s", command, code, out)
		}
	}
}

// TestAMachineWithoutDockerHasNoKindClusters: list and gc say so, and are whole.
func TestAMachineWithoutDockerHasNoKindClusters(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	t.Setenv(projectEnv, "")
	for _, command := range []string{"list", "gc"} {
		if code, out := call(t, command); code != fault.ExitProven || !strings.Contains(out, "no container runtime is installed here") {
			t.Errorf("%s: exit code %d with:\n%s", command, code, out)
		}
	}
	if code, out := call(t, "gc", "--run", "typo"); code != fault.ExitUsage || !strings.Contains(out, "no cluster of this run was found") {
		t.Errorf("exit code %d with:\n%s", code, out)
	}
}

// TestProjectsOfRunsAreLookedInto: what a run of this machine made on GKE is found without a flag.
func TestProjectsOfRunsAreLookedInto(t *testing.T) {
	state := t.TempDir()
	t.Setenv("XDG_STATE_HOME", state)
	t.Setenv(projectEnv, "tools")
	for id, location := range map[string]string{"a": "projects/acme/locations/europe-west6", "b": "projects/acme/locations/us-east1", "c": "elsewhere"} {
		run, err := runs.In(filepath.Join(state, "rekindle")).Begin(runs.Record{ID: id, Provider: "gke", Cluster: "x", Location: location})
		if err != nil {
			t.Fatal(err)
		}
		defer run.End()
	}
	for asking, want := range map[string]string{"": "acme tools", "mine": "acme mine"} {
		var o asked
		if asking != "" {
			o.projects = []string{asking}
		}
		if got, err := o.everyProject(); err != nil || strings.Join(got, " ") != want {
			t.Errorf("asking for %q: %v, %v; want %s", asking, got, err, want)
		}
	}
}

// TestNothingIsLostWithoutAYes calls down with nobody at the terminal.
func TestNothingIsLostWithoutAYes(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	a := newApp(null, os.Stdout, os.Stderr)
	defer a.close()
	if err := a.confirm(t.Context(), "delete the cluster x"); fault.Code(err) != fault.ExitRefused || !strings.Contains(fault.Text(err), "--yes") {
		t.Errorf("got %v", err)
	}
	a.yes = true
	if err := a.confirm(t.Context(), "delete the cluster x"); err != nil {
		t.Errorf("with --yes: %v", err)
	}
}
