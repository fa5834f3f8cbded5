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

const usage = "usage: lab up [argocd]|down|status|env"

func command(ctx context.Context, rep *report.Reporter, l *lab.Lab, args []string) error {
	if len(args) == 0 || len(args) > 1 && args[0] != "up" {
		return fault.New(fault.Usage, usage)
	}
	switch args[0] {
	case "up":
		return execute(ctx, rep, l, l.Up(args[1:]...))
	case "down":
		return execute(ctx, rep, l, l.Down())
	case "status":
		return status(ctx, rep, l)
	case "env":
		return env(ctx, rep, l)
	}
	return fault.New(fault.Usage, usage)
}

// execute runs a plan while no other run touches the lab.
func execute(ctx context.Context, rep *report.Reporter, l *lab.Lab, p *plan.Plan) error {
	unlock, err := l.Lock(ctx, nil)
	if err != nil {
		return err
	}
	defer unlock()
	rep.Begin(p)
	result := engine.Run(ctx, p, engine.Options{Emit: rep.Event})
	return rep.End(result, result.Err)
}

// env tells what tests use, as shell assignments.
func env(ctx context.Context, rep *report.Reporter, l *lab.Lab) error {
	e, err := l.Env(ctx)
	if err != nil {
		return err
	}
	fields := map[string]string{"registry": e.Registry, "node": e.Node, "gateway": e.Gateway}
	return rep.Object("lab", fields, fmt.Sprintf("REKINDLE_LAB_REGISTRY=%s\nREKINDLE_LAB_NODE=%s\nREKINDLE_LAB_GATEWAY=%s\n", e.Registry, e.Node, e.Gateway))
}

// status tells what there is; its error says what is missing.
func status(ctx context.Context, rep *report.Reporter, l *lab.Lab) error {
	e, err := l.Env(ctx)
	if err != nil {
		return err
	}
	repositories, err := l.Repositories(ctx)
	if err != nil {
		return err
	}
	var rows []report.Row
	add := func(what, value string) { rows = append(rows, report.Row{Cells: []string{what, value}}) }
	add("node image", e.Node)
	add("registry", e.Registry)
	add("this machine, for pods", e.Gateway)
	add("cgroup v1 only", fmt.Sprint(e.Quirks.CgroupV1))
	add("no CAP_SYS_RESOURCE", fmt.Sprint(e.Quirks.NoSysResource))
	for _, r := range repositories {
		add("serves", r)
	}
	return rep.Table("lab", []string{"what", "value"}, rows)
}
