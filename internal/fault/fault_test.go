package fault

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestCode(t *testing.T) {
	cause := errors.New("no route")
	for name, c := range map[string]struct {
		err  error
		code int
	}{
		"nothing":              {nil, 0},
		"plain error":          {cause, 1},
		"failed":               {New(Failed, "x"), 1},
		"usage":                {New(Usage, "x"), 2},
		"refused, wrapped":     {fmt.Errorf("outer: %w", New(Refused, "x")), 3},
		"interrupted":          {New(Interrupted, "x"), 130},
		"cancelled context":    {fmt.Errorf("get: %w", context.Canceled), 130},
		"fault over cancelled": {Wrap(context.Canceled, Failed, "x"), 1},
		"list takes its first": {Join(New(Usage, "x"), cause), 2},
	} {
		if got := Code(c.err); got != c.code {
			t.Errorf("%s: exit code %d, want %d", name, got, c.code)
		}
	}
}

func TestErrorText(t *testing.T) {
	err := Wrap(errors.New("connection refused"), Failed, "fetch the chart").
		On("release cert-manager").At("stacks/platform.yaml", 14).WithHint("check the registry")
	want := "stacks/platform.yaml:14: release cert-manager: fetch the chart: connection refused"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	text := Text(Join(err, New(Usage, "two\nlines")))
	wantText := "error: " + want + "\n  hint: check the registry\nerror: two\n    lines\n2 faults\n"
	if text != wantText {
		t.Errorf("got\n%s\nwant\n%s", text, wantText)
	}
}

func TestJoinFlattens(t *testing.T) {
	a, b, c := errors.New("a"), errors.New("b"), errors.New("c")
	if Join(nil, nil) != nil {
		t.Error("nothing joined is not nil")
	}
	if Join(nil, a) != a {
		t.Error("one error joined is not itself")
	}
	all := All(Join(Join(a, b), nil, c))
	if len(all) != 3 || all[2] != c {
		t.Errorf("got %v", all)
	}
	if !errors.Is(Join(a, b), b) {
		t.Error("an error in a list is not found")
	}
}

func TestTransientIsFoundInTheChain(t *testing.T) {
	inner := New(Failed, "busy").Transient()
	if !IsTransient(fmt.Errorf("outer: %w", Wrap(inner, Failed, "step"))) {
		t.Error("not found behind a wrap")
	}
	if IsTransient(New(Failed, "no")) || IsTransient(nil) {
		t.Error("found where there is none")
	}
}

func TestHintsOutermostFirstEachOnce(t *testing.T) {
	inner := New(Failed, "a").WithHint("one")
	err := Wrap(Wrap(inner, Failed, "b").WithHint("two"), Failed, "c").WithHint("one")
	got := Hints(err)
	if len(got) != 2 || got[0] != "one" || got[1] != "two" {
		t.Errorf("hints %v", got)
	}
}
