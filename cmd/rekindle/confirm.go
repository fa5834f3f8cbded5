package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// confirm asks a person before something is lost. Without one to ask, --yes must say it.
func (a *app) confirm(ctx context.Context, what string) error {
	if a.yes {
		return nil
	}
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return fault.New(fault.Refused, "cannot ask whether to %s: no terminal", what).WithHint("add --yes")
	}
	a.rep.Ask(what + "? [y/N] ")
	answer := make(chan string, 1)
	go func() { // of its own, as nothing ends a read
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil {
			line = ""
		}
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return unanswered(ctx, what)
	case line := <-answer:
		if line == "y" || line == "yes" {
			return nil
		}
	}
	return fault.New(fault.Refused, "not confirmed: nothing was changed")
}

// unanswered is why a run ended while it asked.
func unanswered(ctx context.Context, what string) error {
	why := context.Cause(ctx)
	switch {
	case errors.Is(why, context.DeadlineExceeded):
		return fault.Wrap(why, fault.Failed, "no answer in time whether to %s", what).WithHint("raise --timeout, or add --yes")
	case errors.Is(why, context.Canceled):
		return fault.Wrap(why, fault.Interrupted, "interrupted: nothing was changed")
	}
	return why
}
