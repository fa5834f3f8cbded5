package wait

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

func TestPollTellsWhatItWaitsForAndEnds(t *testing.T) {
	looks := 0
	var told []string
	err := Poll(t.Context(), Func("the door opens", func(context.Context) (bool, string, error) {
		looks++
		return looks == 4, "still shut", nil
	}), time.Millisecond, func(u plan.Update) { told = append(told, u.Waiting) })
	if err != nil || looks != 4 {
		t.Fatalf("err %v after %d looks", err, looks)
	}
	if len(told) != 1 || told[0] != "the door opens (still shut)" {
		t.Errorf("told %q: the same reason is told once", told)
	}
}

func TestPollTimeoutIsAnErrorThatSaysWhatWasMissing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	err := Poll(ctx, Func("the door opens", func(context.Context) (bool, string, error) {
		return false, "still shut", nil
	}), time.Millisecond, nil)
	var timeout *TimeoutError
	if !errors.As(err, &timeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), "the door opens (still shut)") {
		t.Errorf("text %q", err)
	}
}

func TestPollEndsOnAnError(t *testing.T) {
	broken := errors.New("broken")
	err := Poll(t.Context(), Func("x", func(context.Context) (bool, string, error) { return false, "", broken }), time.Hour, nil)
	if !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
}

func TestBackoff(t *testing.T) {
	for n, want := range map[int]time.Duration{1: 1, 2: 2, 3: 4, 4: 5, 9: 5} {
		if got := Backoff(n, 1, 5); got != want {
			t.Errorf("try %d waits %d, want %d", n, got, want)
		}
	}
}

func TestALookThatIsCutOffDoesNotHideTheOneBefore(t *testing.T) {
	for name, cutOff := range map[string]func(context.Context) (bool, string, error){
		"as what is missing": func(context.Context) (bool, string, error) { return false, "context canceled while asking", nil },
		"as an error":        func(ctx context.Context) (bool, string, error) { return false, "", fmt.Errorf("list: %w", ctx.Err()) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			looks := 0
			err := Poll(ctx, Func("the nodes are Ready", func(ctx context.Context) (bool, string, error) {
				if looks++; looks == 1 {
					return false, "2 of 3 nodes", nil
				}
				cancel()
				return cutOff(ctx)
			}), time.Millisecond, nil)
			var late *TimeoutError
			if !errors.As(err, &late) || late.Detail != "2 of 3 nodes" || !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestAFirstLookThatIsInterruptedSaysNothing: that its request was cancelled is not what was missing.
func TestAFirstLookThatIsInterruptedSaysNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := Poll(ctx, Func("the nodes are Ready", func(context.Context) (bool, string, error) {
		cancel()
		return false, "Get nodes: context canceled", nil
	}), time.Millisecond, func(u plan.Update) {
		if strings.Contains(u.Waiting, "canceled") {
			t.Errorf("told is %q", u.Waiting)
		}
	})
	var late *TimeoutError
	if !errors.As(err, &late) || late.Detail != "" || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
