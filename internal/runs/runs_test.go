package runs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func begin(t *testing.T, f Folder, id string) *Run {
	t.Helper()
	run, err := f.Begin(Record{ID: id, Provider: "kwok", Cluster: "shop-" + id, Started: time.Unix(1, 0), Expires: time.Unix(2, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func old(t *testing.T, f Folder) []*Old {
	t.Helper()
	all, err := f.Old()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestALivingRunIsNotOld(t *testing.T) {
	f := In(t.TempDir())
	if len(old(t, f)) != 0 {
		t.Fatal("records before the first run")
	}
	run := begin(t, f, "aaaaaa")
	if got := old(t, f); len(got) != 0 {
		t.Errorf("a living run is old: %+v", got)
	}
	if _, err := f.Begin(Record{ID: "aaaaaa"}); err == nil {
		t.Error("two runs have one id")
	}
	if _, err := os.Stat(filepath.Dir(run.Kubeconfig())); err != nil {
		t.Error("the second run of an id took the first one's folder away")
	}
	if err := run.End(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(run.Kubeconfig())); err == nil {
		t.Error("an ended run left its folder")
	}
}

func TestAKeptRunIsOldAndSaysSo(t *testing.T) {
	f := In(t.TempDir())
	if err := begin(t, f, "bbbbbb").Keep(); err != nil {
		t.Fatal(err)
	}
	all := old(t, f)
	if len(all) != 1 || !all[0].Kept || all[0].Cluster != "shop-bbbbbb" || all[0].Expires.Unix() != 2 {
		t.Fatalf("got %+v", all)
	}
	if again := old(t, f); len(again) != 0 {
		t.Error("two collect one record")
	}
	if err := all[0].Release(); err != nil {
		t.Fatal(err)
	}
	all = old(t, f)
	if len(all) != 1 {
		t.Fatal("released, and not there any more")
	}
	if err := all[0].Remove(); err != nil {
		t.Fatal(err)
	}
	if len(old(t, f)) != 0 {
		t.Error("removed, and still there")
	}
}

func TestARunKilledAsItBeganIsOld(t *testing.T) {
	f := In(t.TempDir())
	if err := os.MkdirAll(filepath.Join(string(f), "cccccc"), 0o700); err != nil {
		t.Fatal(err)
	}
	all := old(t, f)
	if len(all) != 1 || all[0].ID != "cccccc" || all[0].Cluster != "" {
		t.Fatalf("got %+v", all)
	}
	if err := all[0].Remove(); err != nil {
		t.Fatal(err)
	}
}

// TestRunsThatBeginAndEndAreLeftAlone while others look for what was left: neither fails by that.
func TestRunsThatBeginAndEndAreLeftAlone(t *testing.T) {
	f := In(t.TempDir())
	living := begin(t, f, "living")
	ctx, cancel := context.WithCancel(t.Context())
	var lookers sync.WaitGroup
	for range 2 {
		lookers.Go(func() {
			for ctx.Err() == nil {
				all, err := f.Old()
				for _, o := range all {
					t.Errorf("%s is old", o.ID)
					err = errors.Join(err, o.Remove())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 300 {
		run, err := f.Begin(Record{ID: NewID(), Cluster: "shop"})
		if err == nil {
			err = run.End()
		}
		if err != nil {
			t.Error(err)
			break
		}
	}
	cancel()
	lookers.Wait()
	if err := living.End(); err != nil {
		t.Error(err)
	}
}
