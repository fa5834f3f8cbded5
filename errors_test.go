package rekindle

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/operate"
)

// TestAnErrorTellsNoSecret, as no report does, and means what it did.
func TestAnErrorTellsNoSecret(t *testing.T) {
	if _, err := Open(t.Context(), "https://u:hunter22@127.0.0.1:1/ops.git", Options{}); ExitCode(err) != BadUsage || strings.Contains(err.Error(), "hunter22") {
		t.Errorf("exit %d: %v", ExitCode(err), err)
	}
	o := Options{}
	_, err := tell(t.Context(), o, o.caller(), func(c *operate.Caller) error {
		c.Secrets.Add("hunter22")
		return fault.Join(
			fault.Wrap(fs.ErrExist, fault.Refused, "the value is hunter22").On("release shop").WithHint("look"),
			fault.New(fault.Failed, "something else").WithHint("give it hunter22"),
		)
	})
	if ExitCode(err) != Refused || !errors.Is(err, fs.ErrExist) {
		t.Errorf("exit %d: %v", ExitCode(err), err)
	}
	want := "error: release shop: the value is ***: file already exists\n  hint: look\nerror: something else\n  hint: give it ***\n2 errors\n"
	if got := Explain(err); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// stalled is a log that takes nothing, as a terminal that was stopped.
type stalled struct{ begun, never chan struct{} }

func (s stalled) Write(p []byte) (int, error) {
	close(s.begun)
	<-s.never
	return len(p), nil
}

// TestALogThatStallsHoldsNoOperation whose context has ended.
func TestALogThatStallsHoldsNoOperation(t *testing.T) {
	log := stalled{make(chan struct{}), make(chan struct{})}
	defer close(log.never)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-log.begun
		cancel()
	}()
	o, done := Options{Log: log}, make(chan error)
	go func() {
		_, err := tell(ctx, o, o.caller(), func(c *operate.Caller) error {
			c.Tell.Message("one")
			return ctx.Err()
		})
		done <- err
	}()
	select {
	case err := <-done:
		if ExitCode(err) != Interrupted || Explain(err) != "error: interrupted\n" {
			t.Errorf("exit %d: %s", ExitCode(err), Explain(err))
		}
	case <-time.After(time.Minute):
		t.Error("it still waits for the log")
	}
}

// TestAPageThatCannotBeWrittenIsKnownBefore anything is done.
func TestAPageThatCannotBeWrittenIsKnownBefore(t *testing.T) {
	o := Options{ReportFile: filepath.Join(t.TempDir(), "nope", "x.html")}
	_, err := tell(t.Context(), o, o.caller(), func(*operate.Caller) error {
		t.Error("it was begun")
		return nil
	})
	if ExitCode(err) != BadUsage || !strings.Contains(Explain(err), "does not exist") {
		t.Errorf("exit %d: %s", ExitCode(err), Explain(err))
	}
}
