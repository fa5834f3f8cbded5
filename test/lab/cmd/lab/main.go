// Command lab makes the lab, tells of it, and stops it: see package lab.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/rekindle-dev/rekindle/internal/engine"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/test/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	os.Exit(fault.Code(err))
}

func run(ctx context.Context, args []string) error {
	rep := report.New(os.Stdout, os.Stderr, report.Options{})
	defer rep.Close()
	l, err := lab.Open()
	if err == nil {
		err = command(ctx, rep, l, args)
	}
	if err != nil {
		rep.Fault(err)
	}
	return err
}

func command(ctx context.Context, rep *report.Reporter, l *lab.Lab, args []string) error {
	if len(args) != 1 {
		return fault.New(fault.Usage, "usage: lab up|down|env")
	}
	var p *plan.Plan
	switch args[0] {
	case "up":
		p = l.Up()
	case "down":
		p = l.Down()
	case "env":
		return env(ctx, l)
	default:
		return fault.New(fault.Usage, "usage: lab up|down|env")
	}
	rep.Begin(p)
	result := engine.Run(ctx, p, engine.Options{Emit: rep.Event})
	return rep.End(result, result.Err)
}

// env tells what tests use, as shell assignments.
func env(ctx context.Context, l *lab.Lab) error {
	e, err := l.Env(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("REKINDLE_LAB_REGISTRY=%s\nREKINDLE_LAB_NODE=%s\nREKINDLE_LAB_GATEWAY=%s\n", e.Registry, e.Node, e.Gateway)
	return nil
}
