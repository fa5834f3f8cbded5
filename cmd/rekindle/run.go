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
	"github.com/rekindle-dev/rekindle/internal/collect"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/gke"
	"github.com/rekindle-dev/rekindle/providers/kind"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

const (
	defaultTTL     = 2 * time.Hour
	commandGrace   = 10 * time.Second // between asking the command to end and ending it
	collectTimeout = 2 * time.Minute
)

// runOptions are the flags of run.
type runOptions struct {
	jobOptions
	ttl       time.Duration
	keep      string
	artifacts string
}

// Values of --keep.
const (
	keepNever     = "never"
	keepOnFailure = "on-failure"
	keepAlways    = "always"
)

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
	f.StringVar(&o.provider, "provider", "", "create the cluster on `PROVIDER`: kwok or kind (default: the document's)")
	_ = c.RegisterFlagCompletionFunc("provider", cobra.FixedCompletions([]string{kwok.Name, kind.Name}, cobra.ShellCompDirectiveNoFileComp))
	o.registerStay(c)
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
func (o *runOptions) registerStay(c *cobra.Command) {
	f := c.Flags()
	f.DurationVar(&o.ttl, "ttl", defaultTTL, "stop the run after `DURATION`; gc may delete the cluster then")
	f.StringVar(&o.keep, "keep", keepNever, "`WHEN` to keep the cluster until its TTL expires: never, on-failure or always")
	f.StringVar(&o.artifacts, "artifacts", "", "after a failure, write events, pods and logs to a new folder in `DIR`, named after the run")
	_ = c.MarkFlagDirname("artifacts")
	_ = c.RegisterFlagCompletionFunc("keep", cobra.FixedCompletions([]string{keepNever, keepOnFailure, keepAlways}, cobra.ShellCompDirectiveNoFileComp))
}

func (o *runOptions) check() error {
	switch {
	case o.provider != "" && o.provider != kwok.Name && o.provider != kind.Name:
		return fault.New(fault.Usage, "--provider %s: not supported for ephemeral clusters", o.provider).WithHint("use kwok or kind")
	case o.keep != keepNever && o.keep != keepOnFailure && o.keep != keepAlways:
		return fault.New(fault.Usage, "--keep %s: unknown value", o.keep).WithHint("use never, on-failure or always")
	case o.ttl < time.Minute:
		return fault.New(fault.Usage, "--ttl %s is too short for a cluster to come up", o.ttl).WithHint("give at least 1m")
	}
	return nil
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
	return a.within(ctx, arg, "run", o, func(ctx, live context.Context, e *ephemeral) error {
		return a.command(ctx, live, e, command)
	})
}

// within makes an ephemeral cluster, lets do its work in it, and removes it again or leaves it, as the options say. word becomes
// part of its name.
func (a *app) within(ctx context.Context, arg, word string, o runOptions, do func(ctx, live context.Context, e *ephemeral) error) error {
	if err := o.check(); err != nil {
		return err
	}
	o.use = true // in the run's own kubeconfig
	e, err := a.newEphemeral(ctx, arg, word, o.jobOptions, o.ttl)
	if err != nil {
		return err
	}
	return a.session(ctx, func(ctx context.Context, s *session) error {
		s.name = word + " " + e.Cluster
		live, cancel := context.WithDeadline(ctx, e.Expires)
		defer cancel()
		job, end, err := a.job(ctx, arg, e.options)
		if err != nil {
			return fault.Join(err, e.End())
		}
		defer end()
		err = s.up(live, job)
		if err == nil {
			err = do(ctx, live, e)
		}
		if err != nil && o.artifacts != "" {
			a.collect(ctx, job, filepath.Join(o.artifacts, e.ID))
		}
		if o.keep == keepAlways || o.keep == keepOnFailure && err != nil {
			return fault.Join(err, a.keep(e))
		}
		return fault.Join(err, s.away(ctx, e, job))
	})
}

// command runs the user's command until it ends, the run is interrupted (ctx), or the TTL is over (live).
func (a *app) command(ctx, live context.Context, e *ephemeral, command []string) error {
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
	return fault.Wrap(err, fault.Failed, "%s could not be run", text).WithHint("the command is searched in PATH; for shell syntax, use: -- sh -c '…'")
}

// collect writes what there is to see. That it cannot is told, and hides no other failure.
func (a *app) collect(ctx context.Context, job *bootstrap.Job, dir string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), collectTimeout)
	defer cancel()
	cluster := job.Cluster()
	if cluster == nil || cluster.REST == nil {
		a.rep.Message("no artifacts: there is no API server to read from")
		return
	}
	err := func() error {
		client, err := kube.Connect(cluster.REST)
		if err != nil {
			return err
		}
		defer client.Close()
		to, err := collect.New(dir, a.secrets.Redact)
		if err != nil {
			return err
		}
		err = to.Cluster(ctx, client.Typed(), !job.Simulated())
		if logger, ok := job.Provider().(providers.HostLogger); ok {
			err = errors.Join(err, to.Logs(logger.HostLogs(cluster.Ref)))
		}
		return err
	}()
	if err != nil {
		a.rep.Message("some artifacts could not be collected: " + strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	a.rep.Message("artifacts are in " + dir)
}

// keep leaves the cluster for a person to look at.
func (a *app) keep(e *ephemeral) error {
	remove := "rekindle gc --run " + e.ID
	if project := gke.ProjectOf(e.Location); project != "" {
		remove += " --project " + project // with which it is found from any machine
	}
	a.rep.Message(fmt.Sprintf("the cluster is kept until %s: KUBECONFIG=%s; %s deletes it earlier",
		e.Expires.Local().Format(time.DateTime), e.Kubeconfig(), remove))
	return e.Keep()
}
