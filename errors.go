package rekindle

import (
	"slices"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/report"
)

// What an error means. The numbers are the exit codes of the command (docs/exit-codes.md).
const (
	Proven      = fault.ExitProven      // no error
	Failed      = fault.ExitFailed      // something failed, or differs
	BadUsage    = fault.ExitUsage       // options or documents are wrong; nothing was changed
	Refused     = fault.ExitRefused     // it would touch what is not rekindle's, or nobody has confirmed it
	Interrupted = fault.ExitInterrupted // the context ended
)

// ExitCode says what an error of this package means.
func ExitCode(err error) int { return fault.Code(err) }

// Explain gives the faults of an error and what to do about each, as the command prints them: lines that end with a line
// break. Of nil it is empty.
func Explain(err error) string { return fault.Text(err) }

// hidden is an error whose text or hints had a secret in them.
type hidden struct {
	error
	text  string   // without it
	hints []string // likewise
}

func (e *hidden) Error() string { return e.text }
func (e *hidden) Unwrap() error { return e.error }

// Hints implements fault.Hinter.
func (e *hidden) Hints() []string { return e.hints }

// hide takes secrets out of the text and the hints of an error: a program prints them where no report does.
func hide(err error, secrets *report.Redactor) error {
	faults, changed := fault.All(err), false
	clean := make([]error, len(faults))
	for i, one := range faults {
		hints := fault.Hints(one)
		h := &hidden{one, secrets.Redact(one.Error()), make([]string, len(hints))}
		for n, hint := range hints {
			h.hints[n] = secrets.Redact(hint)
		}
		clean[i] = one
		if h.text != one.Error() || !slices.Equal(h.hints, hints) {
			clean[i], changed = h, true
		}
	}
	if !changed {
		return err
	}
	return fault.Join(clean...)
}
