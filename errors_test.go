package rekindle

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/operate"
)

// TestAnErrorTellsNoSecret, as no report does, and means what it did.
func TestAnErrorTellsNoSecret(t *testing.T) {
	if _, err := Open(t.Context(), "https://u:hunter22@127.0.0.1:1/ops.git", Options{}); ExitCode(err) != BadUsage || strings.Contains(err.Error(), "hunter22") {
		t.Errorf("exit %d: %v", ExitCode(err), err)
	}
	o := Options{}
	_, err := tell(o, o.caller(), func(c *operate.Caller) error {
		c.Secrets.Add("hunter22")
		return fault.Join(
			fault.Wrap(fs.ErrExist, fault.Refused, "the value is hunter22").On("release shop").WithHint("look"),
			fault.New(fault.Failed, "something else"),
		)
	})
	if ExitCode(err) != Refused || !errors.Is(err, fs.ErrExist) {
		t.Errorf("exit %d: %v", ExitCode(err), err)
	}
	want := "error: release shop: the value is ***: file already exists\n  hint: look\nerror: something else\n2 errors\n"
	if got := Explain(err); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
