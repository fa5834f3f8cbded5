package bootstrap

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/providers"
)

var errGuarded = errors.New("guarded")

// refuse is a guard that lets nothing happen.
func refuse(context.Context, *kube.Client, plan.Progress) error { return errGuarded }

func TestAClusterThatWasDeletedMeanwhileIsTold(t *testing.T) {
	for finds, told := range map[error]bool{providers.ErrNotFound: true, errGuarded: false, nil: false} {
		j := newFound(finder{err: finds})
		if err := j.deleted(t.Context()); (err != nil) != told || told && !strings.Contains(err.Error(), "another run has deleted it") {
			t.Errorf("%v: %v", finds, err)
		}
		j.Close()
	}
}

// TestNothingIsChangedBeforeAGuardWasAsked: it is asked when the lease is held, and everything else comes after it.
func TestNothingIsChangedBeforeAGuardWasAsked(t *testing.T) {
	j := newFound(finder{err: providers.ErrNotFound})
	defer j.Close()
	if j.Up(t.Context()).Step(guardID) != nil || j.Down(t.Context()).Step(guardID) != nil {
		t.Error("a job without a guard asks one")
	}
	j.GuardUp(refuse)
	j.GuardDown(refuse)
	for p, may := range map[*plan.Plan]map[plan.ID]bool{
		j.Up(t.Context()):   {provisionID: true, contextID: true, "lease": true, "system": true},
		j.Down(t.Context()): {"cluster": true, "lease": true},
	} {
		for _, s := range p.Steps() {
			if s.ID != guardID && !may[s.ID] && !comesAfter(p, s, guardID) {
				t.Errorf("%s: %s does not wait for the guard", p.Name, s.ID)
			}
		}
		if _, err := p.Step(guardID).Do(t.Context(), nil); p.Name == "up shop" && !errors.Is(err, errGuarded) {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
}

// comesAfter says whether a step needs another, directly or not.
func comesAfter(p *plan.Plan, s *plan.Step, other plan.ID) bool {
	for _, need := range s.Needs() {
		if need == other || comesAfter(p, p.Step(need), other) {
			return true
		}
	}
	return false
}

// TestAClusterThatDoesNotAnswerIsRemovedUnasked: it cannot tell whether a migration needs it, and is often removed for that.
func TestAClusterThatDoesNotAnswerIsRemovedUnasked(t *testing.T) {
	j := newLive(t, "")
	defer j.Close()
	j.GuardDown(refuse)
	for _, silent := range []bool{false, true} {
		j.silent = silent
		outcome, err := j.guardDown().Do(t.Context(), nil)
		if asked := errors.Is(err, errGuarded); asked == silent || silent && (err != nil || outcome != plan.Unchanged) {
			t.Errorf("silent %v: %s, %v", silent, outcome, err)
		}
	}
}

// TestAPreviewAsksTheGuardOfUp: what up would refuse, plan refuses.
func TestAPreviewAsksTheGuardOfUp(t *testing.T) {
	j := newLive(t, "")
	defer j.Close()
	j.GuardUp(refuse)
	if _, err := j.guardUp().Look(t.Context(), nil); !errors.Is(err, errGuarded) {
		t.Errorf("%v", err)
	}
	absent := newFound(finder{err: providers.ErrNotFound})
	defer absent.Close()
	absent.GuardUp(refuse)
	v, err := previewed(t, absent)
	if err != nil || v.Steps[guardID].Effect != plan.None {
		t.Errorf("of no cluster: %+v, %v", v, err)
	}
}

// TestAPeekAsksWhatAnswers: a cluster that is not there, or is away, is no reason to refuse anything.
func TestAPeekAsksWhatAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		provider providers.Provider
		fails    bool
	}{
		"none":            {finder{err: providers.ErrNotFound}, false},
		"half of one":     {finder{cluster: &providers.Cluster{}}, false},
		"one far away":    {finder{err: errors.New("no route to host")}, false},
		"somebody else's": {finder{err: providers.ErrNotOwned}, true},
	} {
		j := newFound(c.provider)
		if _, err := j.Peek(t.Context(), "ask", refuse).Step(guardID).Do(t.Context(), nil); (err != nil) != c.fails || errors.Is(err, errGuarded) {
			t.Errorf("%s: %v", name, err)
		}
		j.Close()
	}
}
