package plan

import (
	"context"
	"testing"
)

func nothing(context.Context, Progress) (Outcome, error) { return Unchanged, nil }

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s must panic", what)
		}
	}()
	f()
}

func TestAddRefusesMistakesOfThePlanner(t *testing.T) {
	p := New("p")
	p.Add(Step{ID: "a", Do: nothing})
	mustPanic(t, "an unknown need", func() { p.Add(Step{ID: "b", Do: nothing}, "c") })
	mustPanic(t, "a repeated id", func() { p.Add(Step{ID: "a", Do: nothing}) })
	mustPanic(t, "an empty id", func() { p.Add(Step{Do: nothing}) })
	mustPanic(t, "a missing function", func() { p.Add(Step{ID: "d"}) })
	if got := len(p.Steps()); got != 1 {
		t.Errorf("%d steps after refused ones", got)
	}
}

func TestEmptyAndRepeatedNeedsAreLeftOut(t *testing.T) {
	p := New("p")
	a := p.Add(Step{ID: "a", Do: nothing})
	b := p.Add(Step{ID: "b", Do: nothing}, "", a, a)
	if needs := p.Step(b).Needs(); len(needs) != 1 || needs[0] != a {
		t.Errorf("needs %v", needs)
	}
}

func TestHashTellsPlansApart(t *testing.T) {
	build := func(title, input string, need bool) string {
		p := New("p")
		a := p.Add(Step{ID: "a", Title: title, Inputs: map[string]string{"x": input, "y": "1"}, Do: nothing})
		if !need {
			a = ""
		}
		p.Add(Step{ID: "b", Do: nothing}, a)
		return p.Hash()
	}
	base := build("t", "1", true)
	if base != build("t", "1", true) {
		t.Error("equal plans have different hashes")
	}
	for name, other := range map[string]string{
		"title": build("u", "1", true), "input": build("t", "2", true), "need": build("t", "1", false),
	} {
		if other == base {
			t.Errorf("a different %s gives the same hash", name)
		}
	}
}

func TestNilProgressIsValid(t *testing.T) {
	var p Progress
	p.Waiting("x")
	p.Note("x")
	p.Warn("x")
	p.Count(1, 2, "x")
}

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0 kept objects", 1: "1 kept object", 2: "2 kept objects"} {
		if got := Count(n, "kept object"); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
