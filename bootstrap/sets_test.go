package bootstrap

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
)

// shelf is a repository of state of which only the sets are asked.
type shelf struct {
	Snapshots
	sets []state.Summary
	err  error
}

func (s shelf) Sets(context.Context) ([]state.Summary, error) { return slices.Clone(s.sets), s.err }

// newKept is a job for the cluster shop, whose data the repository keeps.
func newKept(provider providers.Provider, open func(context.Context) (Snapshots, error)) *Job {
	j := newFound(provider)
	j.docs.Cluster.Metadata.Name, j.docs.Cluster.Spec.State, j.tools.State = "shop", &config.State{}, open
	return j
}

// TestWhoMakesALostClusterWithoutItsDataIsWarned, by up and by plan; who makes one for the first time is not.
func TestWhoMakesALostClusterWithoutItsDataIsWarned(t *testing.T) {
	taken := time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
	whole := shelf{sets: []state.Summary{{ID: "newest"}, {ID: "whole2", Time: taken, Complete: true}, {ID: "whole1", Complete: true}}}
	const tells = "has 2 complete snapshot sets of shop, the newest of 2026-11-23 06:00:00 UTC (whole2, "
	for name, c := range map[string]struct {
		provider providers.Provider
		has      Snapshots
		opens    error
		warns    string
	}{
		"it was lost":               {finder{err: providers.ErrNotFound}, whole, nil, tells},
		"it was stopped":            {finder{cluster: &providers.Cluster{}}, whole, nil, ""},
		"its context has nothing":   {lendingFinder{finder{cluster: &providers.Cluster{Complete: true, REST: kwoktest.Shared(t).REST}, err: providers.ErrNotFound}}, whole, nil, tells},
		"it is there":               {finder{cluster: &providers.Cluster{Complete: true}}, whole, nil, ""},
		"nobody knows":              {finder{err: errors.New("no route to host")}, whole, nil, ""},
		"it is the first one":       {finder{err: providers.ErrNotFound}, shelf{}, nil, ""},
		"nothing complete was kept": {finder{err: providers.ErrNotFound}, shelf{sets: whole.sets[:1]}, nil, ""},
		"the only one is forged":    {finder{err: providers.ErrNotFound}, shelf{sets: []state.Summary{{ID: "later", Time: time.Now().Add(72 * time.Hour), Complete: true}}}, nil, "the set later is from the future"},
		"the repository is away":    {finder{err: providers.ErrNotFound}, shelf{err: errors.New("connection refused")}, nil, "not known: connection refused"},
		"its password is not set":   {finder{err: providers.ErrNotFound}, nil, errors.New("X is not set"), "not known: X is not set"},
	} {
		j := newKept(c.provider, func(context.Context) (Snapshots, error) { return c.has, c.opens })
		warned, err := warnedOfSets(t.Context(), j)
		if err != nil || (warned != "") != (c.warns != "") || !strings.Contains(warned, c.warns) || strings.Contains(c.warns, "has 2") && !strings.Contains(warned, "rekindle rebuild") {
			t.Errorf("%s: up warns of %q, %v", name, warned, err)
		}
		j.Close()
		if name == "it is there" {
			continue // there is nothing to connect to
		}
		v := j.Preview(j.Up(t.Context()))
		for _, s := range v.Seek(t.Context()).Steps() {
			if _, err := s.Do(t.Context(), nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		told := ""
		for _, w := range v.Result().Warnings {
			if w.Step == setsID {
				told += w.Text
			}
		}
		if (told != "") != (c.warns != "") || !strings.Contains(told, c.warns) {
			t.Errorf("%s: plan warns of %q", name, told)
		}
		j.Close()
	}
}

// warnedOfSets is what the step of up that looks for sets warns of.
func warnedOfSets(ctx context.Context, j *Job) (warned string, err error) {
	j.absent = j.isAbsent(ctx) // as Prepare finds it
	_, err = j.lookForSets().Do(ctx, func(u plan.Update) { warned += u.Warning })
	return warned, err
}

// TestARepositoryThatHangsHoldsNoUp: nothing of up needs what it has.
func TestARepositoryThatHangsHoldsNoUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		j := newKept(finder{err: providers.ErrNotFound}, func(ctx context.Context) (Snapshots, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if warned, err := warnedOfSets(t.Context(), j); err != nil || !strings.Contains(warned, "not known") || time.Since(began) > ageTimeout {
			t.Errorf("after %s: %q, %v", time.Since(began), warned, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if warned, err := warnedOfSets(ctx, j); err != nil || warned != "" {
			t.Errorf("interrupted: %q, %v", warned, err)
		}
	})
}

// TestOnlyTheClusterOfTheDocumentsIsMissed: one that stands for it for a while, or beside it, was never lost; and a rebuild brings
// the data.
func TestOnlyTheClusterOfTheDocumentsIsMissed(t *testing.T) {
	open := func(context.Context) (Snapshots, error) { return shelf{}, nil }
	for name, edit := range map[string]func(*Job){
		"ephemeral":           func(j *Job) { j.tools.Run = "r1" },
		"under another name":  func(j *Job) { j.name = "shop-2" },
		"on another provider": func(j *Job) { j.tools.State = nil },
		"rebuilt":             func(j *Job) { j.state = bringing{} },
	} {
		j := newKept(finder{err: providers.ErrNotFound}, open)
		if j.lookForSets() == nil {
			t.Fatal("nobody looks")
		}
		if edit(j); j.lookForSets() != nil {
			t.Errorf("%s: it looks", name)
		}
	}
}

// bringing is the state of a rebuild.
type bringing struct{ noState }
