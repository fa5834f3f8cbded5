// Package fault is the error a person sees: what failed, on which object, why, and what to do next.
//
// One table turns an error into an exit code ([Code]) and one function turns it into text ([Text]).
// Code that only passes an error on wraps it with fmt.Errorf and %w as usual; code at the boundary
// that knows the object and the cure makes a fault.
package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Kind sorts faults by what the caller of the command has to do about them. It decides the exit code.
type Kind int

// The kinds, in rising order of precedence: a List has the kind of its first element.
const (
	Failed      Kind = iota + 1 // it was tried and did not work
	Usage                       // bad flags, bad documents: nothing was changed
	Refused                     // not ours, a conflict, unsafe: nothing was changed
	Interrupted                 // a signal or a cancelled context stopped it
)

// The exit codes of the command, as documented in docs/exit-codes.md.
const (
	ExitProven      = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitRefused     = 3
	ExitInterrupted = 130
)

// Error is a fault. Its text is lower case and has no full stop.
type Error struct {
	Kind   Kind
	Object string // what it happened to, e.g. "release cert-manager"; may be empty
	What   string // what failed
	Cause  error  // why; may be nil
	Hint   string // what to do, an imperative sentence or a command line; may be empty
	File   string // the document at fault; may be empty
	Line   int    // 1-based; 0 when unknown

	retry bool
}

// New makes a fault without a cause.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, What: fmt.Sprintf(format, args...)}
}

// Wrap makes a fault out of its cause. Wrapping nil is a programmer's error and panics.
func Wrap(cause error, kind Kind, format string, args ...any) *Error {
	if cause == nil {
		panic("fault.Wrap of a nil error")
	}
	return &Error{Kind: kind, What: fmt.Sprintf(format, args...), Cause: cause}
}

// On names the object.
func (e *Error) On(format string, args ...any) *Error {
	e.Object = fmt.Sprintf(format, args...)
	return e
}

// WithHint says what to do.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// At names the place in a document.
func (e *Error) At(file string, line int) *Error {
	e.File, e.Line = file, line
	return e
}

// Transient marks the fault as worth another try: the same call may succeed without any change.
// The engine retries a step only for such an error.
func (e *Error) Transient() *Error {
	e.retry = true
	return e
}

// Error is "file:line: object: what: cause"; the hint is not part of it.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	if e.Object != "" {
		b.WriteString(e.Object + ": ")
	}
	b.WriteString(e.What)
	if e.Cause != nil {
		b.WriteString(": " + e.Cause.Error())
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// List is several faults found at once. It is never empty.
type List []error

// Join collects errors, flattening lists and leaving out nil. It returns nil when nothing is left.
func Join(errs ...error) error {
	var list List
	for _, err := range errs {
		var inner List
		switch {
		case err == nil:
		case errors.As(err, &inner):
			list = append(list, inner...)
		default:
			list = append(list, err)
		}
	}
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	return list
}

// Error is one fault a line.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, err := range l {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the faults.
func (l List) Unwrap() []error { return l }

// All gives the single faults of an error: those of a List, or the error itself.
func All(err error) []error {
	if err == nil {
		return nil
	}
	var l List
	if errors.As(err, &l) {
		return l
	}
	return []error{err}
}

// KindOf is the kind of an error. An error that is no fault has failed; a cancelled context, wherever
// it is in the chain of an error that is no fault, is an interruption.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	if errors.Is(err, context.Canceled) {
		return Interrupted
	}
	return Failed
}

// Code is the exit code of an error.
func Code(err error) int {
	if err == nil {
		return ExitProven
	}
	switch KindOf(err) {
	case Usage:
		return ExitUsage
	case Refused:
		return ExitRefused
	case Interrupted:
		return ExitInterrupted
	default:
		return ExitFailed
	}
}

// IsTransient says whether any fault in the chain was marked with Transient.
func IsTransient(err error) bool {
	var e *Error
	for errors.As(err, &e) {
		if e.retry {
			return true
		}
		err = e.Cause
	}
	return false
}

// Hints gives the hints of an error and of its causes, outermost first, each once.
func Hints(err error) []string {
	var hints []string
	for _, one := range All(err) {
		var e *Error
		for errors.As(one, &e) {
			if e.Hint != "" && !slices.Contains(hints, e.Hint) {
				hints = append(hints, e.Hint)
			}
			one = e.Cause
		}
	}
	return hints
}

// Text is what a person reads on a terminal: every fault with its hint under it, and their number
// when there is more than one.
func Text(err error) string {
	var b strings.Builder
	all := All(err)
	for _, one := range all {
		fmt.Fprintf(&b, "error: %s\n", indent(one.Error()))
		for _, hint := range Hints(one) {
			fmt.Fprintf(&b, "  hint: %s\n", indent(hint))
		}
	}
	if len(all) > 1 {
		fmt.Fprintf(&b, "%d faults\n", len(all))
	}
	return b.String()
}

// indent sets the later lines of a text under its first.
func indent(s string) string {
	return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ")
}
