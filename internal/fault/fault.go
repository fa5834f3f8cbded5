// Package fault is the error a person sees: what failed, on which object, why, and what to do next.
//
// One table turns an error into an exit code ([Code]) and one function turns it into text ([Text]).
// Code that only passes an error on wraps it with fmt.Errorf and %w as usual; code at the boundary
// that knows the object and the cure makes a fault.
package fault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
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
	exit  int // in place of the kind's; 0 for that
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

// Panic makes a fault of what a panic was called with. It is for the deferred function that recovers.
func Panic(v any) *Error {
	return New(Failed, "internal error: %v\n%s", v, debug.Stack()).
		WithHint("this is a defect of rekindle: please report it with the lines above")
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

// WithExit gives the fault an exit code of its own, that of a command which failed.
func (e *Error) WithExit(code int) *Error {
	e.exit = code
	return e
}

// Error is "file:line: object: what: cause"; the hint is not part of it. Of a list of causes each is on a line of its own
// below that.
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
	switch causes := All(e.Cause); {
	case e.Kind == Interrupted && e.Cause == context.Canceled: // it says so itself
	case len(causes) == 1:
		b.WriteString(": " + e.Cause.Error())
	case len(causes) > 1:
		b.WriteString(":")
		for _, one := range causes {
			b.WriteString("\n  " + strings.ReplaceAll(one.Error(), "\n", "\n  "))
		}
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// List is several faults found at once. It is never empty.
type List []error

// Join collects errors, flattening what All takes apart and leaving out nil. It returns nil when nothing is left.
func Join(errs ...error) error {
	var list List
	for _, err := range errs {
		list = append(list, All(err)...)
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

// All gives the single faults of an error: those of a List, or the error itself. A list is found behind wrappers that say
// nothing of their own, and no deeper: a fault with a list for its cause is one fault, which has its own text, kind and hint.
func All(err error) []error {
	if err == nil {
		return nil
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		switch e := inner.(type) {
		case *Error:
			return []error{err}
		case List:
			if err.Error() != e.Error() {
				return []error{err}
			}
			return e
		}
	}
	return []error{err}
}

// KindOf is the kind of an error. An error that is no fault has failed; a cancelled context, wherever
// it is in the chain of an error that is no fault, is an interruption. A List has the kind of its first element, also
// where that is no fault.
func KindOf(err error) Kind {
	switch first := outermost(err).(type) {
	case *Error:
		return first.Kind
	case List:
		return KindOf(first[0])
	}
	if errors.Is(err, context.Canceled) {
		return Interrupted
	}
	return Failed
}

// outermost is the first *Error or List in the chain of an error, in the order of errors.As, or nil.
func outermost(err error) error {
	switch e := err.(type) {
	case *Error, List:
		return err
	case interface{ Unwrap() error }:
		return outermost(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if first := outermost(inner); first != nil {
				return first
			}
		}
	}
	return nil
}

// Code is the exit code of an error: that of the first fault in it which has one of its own, or else its kind's.
func Code(err error) int {
	if err == nil {
		return ExitProven
	}
	own := 0
	each(err, func(err error) bool {
		if e, ok := err.(*Error); ok {
			own = cmp.Or(own, e.exit)
		}
		return true
	})
	if own != 0 {
		return own
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

// A Hinter is an error that says itself what to do, in place of the faults that it wraps.
type Hinter interface {
	error
	Hints() []string
}

// Hints gives the hints of an error and of its causes, outermost first, each once.
func Hints(err error) []string {
	var hints []string
	each(err, func(err error) (deeper bool) {
		of, deeper := []string(nil), true
		switch e := err.(type) {
		case Hinter:
			of, deeper = e.Hints(), false
		case *Error:
			of = []string{e.Hint}
		}
		for _, hint := range of {
			if hint != "" && !slices.Contains(hints, hint) {
				hints = append(hints, hint)
			}
		}
		return deeper
	})
	return hints
}

// each calls do with every error in the tree of one, outermost first, and those below where it says so.
func each(err error, do func(error) (deeper bool)) {
	if err == nil || !do(err) {
		return
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		each(e.Unwrap(), do)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			each(inner, do)
		}
	}
}

// Wording is the text of an error for a person, who knows of no context that could be cancelled.
func Wording(err error) string {
	if !errors.Is(err, context.Canceled) {
		return err.Error()
	}
	return strings.ReplaceAll(err.Error(), context.Canceled.Error(), "interrupted")
}

// Text is what a person reads on a terminal: every fault with its hint under it, and their number
// when there is more than one.
func Text(err error) string {
	var b strings.Builder
	all := All(err)
	for _, one := range all {
		fmt.Fprintf(&b, "error: %s\n", indent(Wording(one)))
		for _, hint := range Hints(one) {
			fmt.Fprintf(&b, "  hint: %s\n", indent(hint))
		}
	}
	if len(all) > 1 {
		fmt.Fprintf(&b, "%d errors\n", len(all))
	}
	return b.String()
}

// indent sets the later lines of a text under its first.
func indent(s string) string {
	return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ")
}
