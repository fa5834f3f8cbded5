package fault

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
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

		"list, first no fault":         {Join(cause, New(Usage, "x")), 1},
		"list, first cancelled":        {Join(context.Canceled, New(Failed, "x")), 130},
		"list, a cancelled one later":  {Join(cause, context.Canceled), 1},
		"list, wrapped with words":     {fmt.Errorf("outer: %w", Join(cause, New(Usage, "x"))), 1},
		"fault over a list":            {Wrap(Join(New(Failed, "x"), cause), Refused, "y"), 3},
		"fault over a list, joined":    {Join(Wrap(Join(New(Failed, "x"), cause), Refused, "y"), cause), 3},
		"of a command":                 {fmt.Errorf("run: %w", New(Failed, "x").WithExit(17)), 17},
		"of a command, with another":   {Join(New(Failed, "x").WithExit(17), New(Refused, "y")), 17},
		"a process that failed":        {Wrap(exec.Command("sh", "-c", "exit 17").Run(), Failed, "x"), 1},
		"two, only the second a fault": {fmt.Errorf("%w: %w", cause, New(Usage, "x")), 2},
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
	wantText := "error: " + want + "\n  hint: check the registry\nerror: two\n    lines\n2 errors\n"
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

// quiet wraps an error and says nothing of its own.
type quiet struct{ error }

func (q quiet) Unwrap() error { return q.error }

// TestWhatIsOneFault shows how many faults an error is: what has words of its own is not taken apart.
func TestWhatIsOneFault(t *testing.T) {
	a, b := errors.New("a"), errors.New("b")
	list := Join(a, b)
	for name, c := range map[string]struct {
		err  error
		want []string
	}{
		"a list":                       {list, []string{"a", "b"}},
		"a list, wrapped without word": {quiet{quiet{list}}, []string{"a", "b"}},
		"a list, wrapped with words":   {fmt.Errorf("outer: %w", list), []string{"outer: a\nb"}},
		"a fault over a list":          {Wrap(list, Refused, "look").On("x"), []string{"x: look:\n  a\n  b"}},
		"a fault over such a fault":    {Wrap(Wrap(list, Refused, "in"), Refused, "out"), []string{"out: in:\n  a\n  b"}},
		"errors joined with a list":    {errors.Join(errors.New("c"), list), []string{"c\na\nb"}},
		"a fault beside one of a list": {Join(b, Wrap(Join(a, Wrap(list, Failed, "in")), Failed, "out")), []string{"b", "out:\n  a\n  in:\n    a\n    b"}},
	} {
		for _, err := range []error{c.err, Join(c.err)} {
			var got []string
			for _, one := range All(err) {
				got = append(got, one.Error())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %q, want %q", name, got, c.want)
			}
		}
	}
}

// TestAFaultOverAListIsToldWhole shows its own words and hint, and below it each of the list with its own.
func TestAFaultOverAListIsToldWhole(t *testing.T) {
	list := Join(New(Failed, "busy").On("pod a").WithHint("wait"), New(Failed, "gone\nfor good").On("pod b").WithHint("make it"))
	got := Text(Wrap(list, Refused, "not known").On("cluster x").WithHint("let it answer"))
	want := "error: cluster x: not known:\n      pod a: busy\n      pod b: gone\n      for good\n" +
		"  hint: let it answer\n  hint: wait\n  hint: make it\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
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

// TestAnInterruptionIsToldInPlainWords, of whatever it cut off, and nothing else is told in other words.
func TestAnInterruptionIsToldInPlainWords(t *testing.T) {
	for want, err := range map[string]error{
		"interrupted":                           context.Canceled,
		"interrupted: nothing was changed":      Wrap(context.Canceled, Interrupted, "interrupted: nothing was changed"),
		"shop: list the objects: interrupted":   Wrap(fmt.Errorf("list the objects: %w", context.Canceled), Failed, "shop"),
		"the job said: context canceled":        New(Failed, "the job said: context canceled"),
		"the repository: interrupted":           Wrap(context.Canceled, Failed, "the repository"),
		"2 causes:\n  no folder\n  interrupted": Wrap(Join(errors.New("no folder"), context.Canceled), Failed, "2 causes"),
	} {
		if got := Text(err); got != "error: "+strings.ReplaceAll(want, "\n", "\n    ")+"\n" || Wording(err) != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if err := Wrap(context.Canceled, Interrupted, "interrupted"); err.Error() != "interrupted" || !errors.Is(err, context.Canceled) {
		t.Errorf("a fault: %v", err)
	}
}
