package main

import (
	"bufio"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// confirm asks a person before something is lost. Without one to ask, --yes must say it.
func (a *app) confirm(what string) error {
	if a.yes {
		return nil
	}
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return fault.New(fault.Refused, "nobody to ask whether to %s", what).WithHint("add --yes")
	}
	a.rep.Ask(what + "? [y/N] ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return fault.New(fault.Refused, "not confirmed: nothing was changed")
}
