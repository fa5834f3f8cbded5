// Command notices says under which licences a program may be passed on, with all that is linked into it.
//
//	notices [-C DIR] [-targets OS/ARCH,...] [-o FILE] PACKAGE...   write the texts of all licences
//	notices [-C DIR] [-targets OS/ARCH,...] -check [-tests] PACKAGE...   only judge them
//
// Either fails, and names each module that stands against it, if a licence is not one that this project takes. It reads the
// modules in Go's module cache, as the go command has verified them, and asks nobody else.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
)

// released are the targets that there are releases for.
const released = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("notices", flag.ContinueOnError)
	dir := flags.String("C", ".", "`DIR` of the main module")
	targets := flags.String("targets", released, "`OS/ARCH,...` that the program is built for")
	check := flags.Bool("check", false, "write nothing, only judge")
	tests := flags.Bool("tests", false, "with -check: what the tests of the packages need too")
	out := flags.String("o", "", "write to `FILE` instead of standard output")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("no package is named")
	}
	if *tests && !*check {
		return errors.New("-tests is only for -check: tests are not passed on")
	}
	all, err := licensed(ctx, selection{*dir, strings.Split(*targets, ","), flags.Args(), *tests})
	switch {
	case err != nil:
		return err
	case *check:
		_, err = fmt.Fprintf(stdout, "licences of %d modules: ok\n", len(all))
		return err
	}
	notices, err := render(all)
	switch {
	case err != nil:
	case *out != "":
		err = os.WriteFile(*out, notices, 0o644)
	default:
		_, err = stdout.Write(notices)
	}
	return err
}

// licensed finds the dependencies of a selection with their texts. Whatever stands against any of them is told at once.
func licensed(ctx context.Context, s selection) ([]dependency, error) {
	all, err := linked(ctx, s)
	if err != nil {
		return nil, err
	}
	var refused []error
	for i := range all {
		d := &all[i]
		if d.texts, err = textsOf(*d); err != nil {
			return nil, err
		}
		var faults []error
		d.licences, faults = licencesOf(*d)
		refused = append(refused, faults...)
	}
	if len(refused) > 0 {
		return nil, fmt.Errorf("%w\nthese dependencies cannot be taken: CONTRIBUTING.md says which can", errors.Join(refused...))
	}
	return all, nil
}
