package volumes_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
)

// fresh is a repository that is not there until it is made, at an address with a password in it.
func fresh(t *testing.T, sets string) *state.Repository {
	t.Helper()
	dir := t.TempDir()
	restic := filepath.Join(dir, "restic")
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = init ] && exec touch %[1]s/made\n[ -e %[1]s/made ] || exit 10\necho '%[2]s'\n", dir, sets)
	if err := os.WriteFile(restic, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := state.Open(state.Settings{Repository: "rest:https://me:hush@state.example.com/", Password: []byte("horse"), Restic: restic, Cluster: "begin"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestARepositoryThatIsNotThere is made, which is told, but not for a cluster that has had sets: its address is wrong then, or
// its disk is not mounted.
func TestARepositoryThatIsNotThere(t *testing.T) {
	w := newWorld(t, "begin")
	w.claim("data", "ReadWriteOnce", "", "")
	begin := func(r *state.Repository, cluster string) (created bool, warned string, err error) {
		_, created, err = volumes.Begin(t.Context(), w.client, r, cluster, func(u plan.Update) { warned += u.Warning })
		return created, warned, err
	}
	r := fresh(t, "[]")
	created, warned, err := begin(r, "begin")
	if err != nil || !created || !strings.Contains(warned, "empty state repository was made at rest:https://me:xxxxx@state.example.com/: ") {
		t.Errorf("the first: %t, %q, %v", created, warned, err)
	}
	if created, warned, err = begin(r, "begin"); created || warned != "" || err != nil {
		t.Errorf("again: %t, %q, %v", created, warned, err)
	}

	refused := func(says string) {
		t.Helper()
		r := fresh(t, "[]")
		created, _, err := begin(r, "begin")
		text := fault.Text(err)
		if created || fault.KindOf(err) != fault.Refused || !strings.Contains(text, says) || !strings.Contains(text, "restic init") || strings.Contains(text, "hush") {
			t.Errorf("want %q in: %s", says, text)
		}
		if _, err := r.Sets(t.Context()); !state.NoRepository(err) {
			t.Errorf("it was made: %v", err)
		}
	}
	due, err := state.ParseCron("0 3 1 1 *")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&volumes.Schedule{Client: w.client, Cluster: "begin", Due: due}).Install(t.Context(), w.own(), access, nil); err != nil {
		t.Fatal(err)
	}
	refused("state repository rest:https://me:xxxxx@state.example.com/: is not there, and should be: the CronJob begin/rekindle-data-")
	if created, _, err := begin(fresh(t, "[]"), "other"); !created || err != nil {
		t.Errorf("the sets of another: %t, %v", created, err)
	}
	if _, err := volumes.RemoveSchedule(t.Context(), w.client, nil); err != nil {
		t.Fatal(err)
	}
	w.claim("back", "ReadWriteOnce", "rekindle.dev/restored: 20261123-061501-ab12cd", "")
	refused("the claim begin/back was restored from the set 20261123-061501-ab12cd")
	w.delete("PersistentVolumeClaim", "back")
}

func TestASetOfNowThatIsNotTheNewestIsTold(t *testing.T) {
	w := newWorld(t, "future")
	r := fresh(t, `[{"id":"m1","tags":["rekindle","set=21261123-080000-later1","complete"]}]`)
	if _, err := r.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	warned := ""
	sets, _, err := volumes.Begin(t.Context(), w.client, r, "begin", func(u plan.Update) { warned += u.Warning })
	if err != nil || len(sets) != 1 || !strings.Contains(warned, "the set 21261123-080000-later1 begins after now") {
		t.Errorf("%+v, %q, %v", sets, warned, err)
	}
}

func TestDataThatOutgrewItsClaimIsTold(t *testing.T) {
	claim := state.Claim{Namespace: "shop", Name: "data", Size: "1Gi", Bytes: 1 << 30}
	if got := volumes.Outgrown(claim); got != "" {
		t.Errorf("what fits: %q", got)
	}
	claim.Bytes++
	if got := volumes.Outgrown(claim); !strings.HasPrefix(got, "claim shop/data has 1.0 GiB of files and requests only 1Gi: ") {
		t.Errorf("told: %q", got)
	}
}
