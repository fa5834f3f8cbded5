package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/bootstrap"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/operate"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// commandGrace is the time between asking the command to end and ending it.
const commandGrace = 10 * time.Second

// runOptions are the flags of run.
type runOptions struct {
	jobOptions
	operate.Stay
}

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run FILE|URL//PATH [flags] -- CMD [ARG...]",
		Short: "Run a command in an ephemeral cluster",
		Long: `Create a cluster with a temporary name from the document, run CMD with KUBECONFIG and
REKINDLE_CLUSTER in its environment, and delete the cluster: also if CMD fails, is interrupted,
or still runs when the TTL expires. The exit code is that of CMD. On a terminal, CMD gets the
input, Ctrl-C ends CMD only, and Ctrl-Z does nothing.

Your kubeconfig and its current context do not change. A killed run leaves its cluster behind,
with an expiry time: rekindle gc deletes it, from any machine.

Concurrent runs do not collide: each cluster has its own name, ports and kubeconfig. Only a kind
configuration with fixed host ports is limited to one run at a time; a second run fails at once.`,
		Example: `  rekindle run clusters/test/cluster.yaml --source-from . -- go test ./e2e/...
  rekindle run clusters/test/cluster.yaml --provider kwok --artifacts out -- ./smoke.sh`,
		GroupID: "cluster",
		Args: func(c *cobra.Command, args []string) error {
			if c.ArgsLenAtDash() != 1 || len(args) < 2 {
				return errors.New("requires one document, then -- and a command")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.runAround(c.Context(), args[0], args[1:], o) },
	}
	o.register(c)
	f := c.Flags()
	f.StringVar(&o.Provider, "provider", "", "create the cluster on `PROVIDER`: kwok or kind (default: the document's)")
	_ = c.RegisterFlagCompletionFunc("provider", cobra.FixedCompletions([]string{kwok.Name, kind.Name}, cobra.ShellCompDirectiveNoFileComp))
	registerStay(c, &o.Stay)
	document := c.ValidArgsFunction
	c.ValidArgsFunction = func(c *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		switch len(args) {
		case 0:
			return document(c, args, begin)
		case 1:
			return programs(begin), cobra.ShellCompDirectiveDefault
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
	return c
}

// registerStay adds the flags that say how long the cluster of a run stays, and what is left of it.
func registerStay(c *cobra.Command, o *operate.Stay) {
	f := c.Flags()
	registerKeep(c, o)
	f.StringVar(&o.Artifacts, "artifacts", "", "after a failure, write events, pods and logs to a new folder in `DIR`, named after the run")
	_ = c.MarkFlagDirname("artifacts")
}

// registerKeep adds those of them that a drill has too.
func registerKeep(c *cobra.Command, o *operate.Stay) {
	f := c.Flags()
	f.DurationVar(&o.TTL, "ttl", operate.DefaultTTL, "stop the run after `DURATION`; gc may delete the cluster then")
	f.StringVar((*string)(&o.Keep), "keep", string(operate.KeepNever), "`WHEN` to keep the cluster until its TTL expires: never, on-failure or always")
	values := []string{string(operate.KeepNever), string(operate.KeepOnFailure), string(operate.KeepAlways)}
	_ = c.RegisterFlagCompletionFunc("keep", cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// programs are those in PATH whose names begin like this. With none the shell completes files.
func programs(begin string) []string {
	var all []string
	if begin == "" || strings.ContainsRune(begin, '/') {
		return nil
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		entries, _ := os.ReadDir(dir) // of a folder that cannot be read nothing is run either
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), begin) && !e.IsDir() {
				all = append(all, e.Name())
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (a *app) runAround(ctx context.Context, arg string, command []string, o runOptions) error {
	if _, err := exec.LookPath(command[0]); err != nil { // known before there is a cluster
		return cannotRun(err, fault.Usage, command[0])
	}
	return a.within(ctx, arg, "run", o, func(ctx, live context.Context, e *operate.Ephemeral) error {
		return a.command(ctx, live, e, command)
	})
}

// within lets do its work in an ephemeral cluster. word becomes part of its name.
func (a *app) within(ctx context.Context, arg, word string, o runOptions, do func(ctx, live context.Context, e *operate.Ephemeral) error) error {
	if err := o.Check(o.Provider); err != nil {
		return err
	}
	docs, err := a.Load(ctx, arg)
	if err != nil {
		return err
	}
	return a.Within(ctx, docs, word, o.Options, o.Stay, func(ctx, live context.Context, e *operate.Ephemeral, _ *bootstrap.Job) error {
		return do(ctx, live, e)
	})
}

// command runs the user's command until it ends, the run is interrupted (ctx), or the TTL is over (live).
func (a *app) command(ctx, live context.Context, e *operate.Ephemeral, command []string) error {
	text := strings.Join(command, " ")
	a.rep.Pause("run " + text)
	cmd := exec.CommandContext(live, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stdout, a.stderr
	if format, err := report.ParseFormat(a.output); err == nil && format == report.JSON {
		cmd.Stdout = a.stderr // standard output is for events
	}
	cmd.Env = append(os.Environ(), "KUBECONFIG="+e.Kubeconfig(), "REKINDLE_CLUSTER="+e.Cluster)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that what it started ends with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = commandGrace
	start := time.Now()
	err := a.attend(cmd)
	if cmd.Process != nil && live.Err() != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what of it did not end when asked to
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case live.Err() != nil:
		return fault.New(fault.Failed, "%s was still running when the TTL expired", text).WithHint("raise --ttl")
	case err == nil:
		a.rep.Message(fmt.Sprintf("%s succeeded after %s", text, time.Since(start).Round(time.Second/10)))
		return nil
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return fault.New(fault.Failed, "%s ended with exit code %d", text, exit.ExitCode()).WithExit(exit.ExitCode())
	case errors.As(err, &exit) && endedBy(exit, syscall.SIGINT): // by a Ctrl-C that was for it alone
		return fault.Wrap(err, fault.Interrupted, "%s", text)
	case errors.As(err, &exit):
		return fault.Wrap(err, fault.Failed, "%s", text)
	}
	return cannotRun(err, fault.Failed, text)
}

func cannotRun(err error, kind fault.Kind, text string) error {
	return fault.Wrap(err, kind, "%s could not be run", text).WithHint("the command is searched in PATH; for shell syntax, use: -- sh -c '…'")
}
