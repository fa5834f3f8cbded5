package bootstrap_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/stacks"
)

const remoteState = "  state:\n    repository: s3:https://s3.example.com/x\n    password: {env: X}\n"

// away is a repository that cannot be reached.
func away(context.Context) (bootstrap.Snapshots, error) {
	return nil, errors.New("connection refused")
}

func TestAScheduleThatCanNotBeIsToldAtItsLine(t *testing.T) {
	for spec, says := range map[string]string{
		"  state:\n    schedule: 0 * * * *\n    repository: state\n    password: {env: X}\n":          "is a folder on it",
		"  state:\n    schedule: 0 * * * *\n    repository: 'sftp:me@x:/y'\n    password: {env: X}\n": "pods have neither SSH keys",
		"  state:\n    schedule: 61 * * * *\n    repository: 's3:x/y'\n    password: {env: X}\n":      "is not a valid schedule",
		"  state:\n    schedule: 0 0 30 2 *\n    repository: 's3:x/y'\n    password: {env: X}\n":      "is never due",
	} {
		_, err := bootstrap.New(documents(t, "kind", spec), "", bootstrap.Tools{Provider: kind.New(kind.Settings{})})
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "cluster.yaml:8: ") || !strings.Contains(err.Error(), says) || len(fault.Hints(err)) == 0 {
			t.Errorf("%q: got %v", says, err)
		}
	}
}

// TestOnlyTheClusterOfTheDocumentsHasTheSchedule: one that stands for it would write sets in its name.
func TestOnlyTheClusterOfTheDocumentsHasTheSchedule(t *testing.T) {
	docs := documents(t, "kind", remoteState+"    schedule: 0 * * * *\n")
	for name, c := range map[string]struct {
		as   string
		edit func(*bootstrap.Tools)
		has  bool
	}{
		"itself":               {"", func(*bootstrap.Tools) {}, true},
		"by its name":          {"test", func(*bootstrap.Tools) {}, true},
		"under another name":   {"other", func(*bootstrap.Tools) {}, false},
		"for a drill":          {"", func(tools *bootstrap.Tools) { tools.Trial = true }, false},
		"for a while":          {"", func(tools *bootstrap.Tools) { tools.Run = "r1" }, false},
		"without a repository": {"", func(tools *bootstrap.Tools) { tools.State = nil }, false},
	} {
		tools := bootstrap.Tools{
			Provider: kind.New(kind.Settings{}), At: providers.Ref{Provider: "test", Name: "test"}, Charts: stacks.NewFetcher(t.TempDir()), State: away,
		}
		c.edit(&tools)
		j, err := bootstrap.New(docs, c.as, tools)
		if err != nil {
			t.Fatal(err)
		}
		p := j.Up(t.Context())
		if s := p.Step("schedule"); (s != nil) != c.has || c.has && !slices.Contains(s.Needs(), plan.ID("release/second")) {
			t.Errorf("%s: %v", name, shape(p))
		}
		j.Close()
		if s := j.Status(t.Context()).Step("state"); (s != nil) != c.has {
			t.Errorf("%s: status", name)
		}
		j.Close()
	}
}

// TestARepositoryThatIsAwayIsAWarning: the cluster may well reach it.
func TestARepositoryThatIsAwayIsAWarning(t *testing.T) {
	j, err := bootstrap.New(documents(t, "kind", remoteState), "", bootstrap.Tools{
		Provider: kind.New(kind.Settings{}), At: providers.Ref{Provider: "test", Name: "test"}, Charts: stacks.NewFetcher(t.TempDir()), State: away,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	var warned []string
	_, known := j.Newest(t.Context(), func(u plan.Update) {
		if u.Warning != "" {
			warned = append(warned, u.Warning)
		}
	})
	if known || len(warned) != 1 || !strings.Contains(warned[0], "not known: connection refused") {
		t.Errorf("%t, %q", known, warned)
	}
}

// TestASetThatCanNotBeRestoredIsNotTheNewest: neither one that lost a volume, however complete it was when it was taken, nor
// one that a clock which was ahead has made the newest for long.
func TestASetThatCanNotBeRestoredIsNotTheNewest(t *testing.T) {
	restic := filepath.Join(t.TempDir(), "restic")
	const says = `#!/bin/sh
echo '[{"id":"m3","tags":["rekindle","set=21261123-080000-future","complete"]},
{"id":"m2","tags":["rekindle","set=20261123-080000-lostit","complete","wants=shop/data"]},
{"id":"m1","tags":["rekindle","set=20261123-060000-whole1","complete","wants=shop/data"]},
{"id":"d1","tags":["rekindle","set=20261123-060000-whole1","claim=shop/data"]}]'
`
	if err := os.WriteFile(restic, []byte(says), 0o700); err != nil {
		t.Fatal(err)
	}
	repository, err := state.Open(state.Settings{Repository: t.TempDir(), Password: []byte("x"), Restic: restic, Cluster: "test"})
	if err != nil {
		t.Fatal(err)
	}
	j, err := bootstrap.New(documents(t, "kind", remoteState), "", bootstrap.Tools{
		Provider: kind.New(kind.Settings{}), At: providers.Ref{Provider: "test", Name: "test"}, Charts: stacks.NewFetcher(t.TempDir()),
		State: func(context.Context) (bootstrap.Snapshots, error) { return repository, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	var told []string
	_, _ = j.Newest(t.Context(), func(u plan.Update) { told = append(told, u.Note+u.Warning) })
	if text := strings.Join(told, "; "); !strings.Contains(text, "the newest complete set, 20261123-060000-whole1,") ||
		!strings.Contains(text, "the set 21261123-080000-future is from the future and does not count") {
		t.Errorf("told %q", text)
	}
}

func TestASetIsOverdueAfterTwoTicks(t *testing.T) {
	due, err := state.ParseCron("0 * * * *")
	if err != nil {
		t.Fatal(err)
	}
	at := func(hour, minute int) time.Time { return time.Date(2026, 11, 23, hour, minute, 0, 0, time.UTC) }
	for _, c := range []struct {
		begun, since, now time.Time
		says              string
	}{
		{at(6, 0), at(1, 0), at(8, 9), ""},
		{at(6, 0), at(1, 0), at(8, 10), "the newest complete snapshot set is from 2026-11-23T06:00:00Z; another was due by 2026-11-23T08:10:00Z"},
		{at(1, 0), at(6, 30), at(8, 9), ""}, // the schedule is younger than the set
		{time.Time{}, at(6, 30), at(8, 9), ""},
		{time.Time{}, at(6, 30), at(8, 10), "there is no complete snapshot set"},
	} {
		err := bootstrap.Overdue(due, c.begun, c.since, c.now)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s, %s at %s: %v", c.begun, c.since, c.now, err)
		}
	}
}
