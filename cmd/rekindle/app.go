package main

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/operate"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/internal/startup"
)

// app is one run of the command: its streams, its global flags, and what tells of it.
type app struct {
	operate.Caller // with the flags that it knows

	stdin          io.Reader
	stdout, stderr *os.File

	output     string
	reportFile string
	timeout    time.Duration
	yes        bool
	verbose    bool

	args    []string        // of the command line
	hurry   <-chan struct{} // closed when it was interrupted
	limited context.Context // with the time limit of the run; nil before the flags are known
	unlimit func()          // ends that
	telling sync.Mutex      // guards rep against message, which a signal calls at any time
	rep     *report.Reporter
}

func newApp(stdin io.Reader, stdout, stderr *os.File) *app {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, Caller: operate.Caller{Secrets: report.NewRedactor()}}
	a.Confirm = a.confirm
	return a
}

// root is the command with everything below it. This is the one place that lists the commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "rekindle",
		Short: "Turn an ops repository and a key into a verified Kubernetes cluster",
		Long: `rekindle creates a Kubernetes cluster, installs its Helm releases and Flux or Argo CD, points
the reconciler at an ops repository, and verifies that the cluster matches the repository.

Exit codes: 0 proven, 1 failed, 2 bad usage or documents, 3 refused, 130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,

		Version: buildVersion(),
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			startup.Done()
			if a.timeout < 0 {
				return fault.New(fault.Usage, "--timeout %s is negative", a.timeout).WithHint("leave it out for no limit")
			}
			c.SetContext(a.limit(c.Context()))
			return a.open(c)
		},
		Args: noSuchCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(a.stdin)
	root.SetOut(leavable{a.stdout})
	root.SetErr(leavable{a.stderr})
	root.SetFlagErrorFunc(a.badFlag)
	f := root.PersistentFlags()
	f.StringVarP(&a.output, "output", "o", "text", "output `FORMAT`: text, or json (one event per line)")
	f.StringVar(&a.reportFile, "report", "", "write a self-contained HTML report to `FILE`")
	f.DurationVar(&a.timeout, "timeout", 0, "stop the run after `DURATION`, such as 20m (default: no limit; every step has its own)")
	f.BoolVarP(&a.yes, "yes", "y", false, "answer yes to every question, including that of cutover")
	f.StringVar(&a.Kubeconfig, "kubeconfig", "", "kubeconfig `FILE` that gets the cluster's context, or has that of an existing cluster (default: the document's, $KUBECONFIG or ~/.kube/config)")
	f.BoolVar(&a.Trust, operate.TrustFlag, false, "let a document given as URL//PATH run commands and read files of this machine")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "also show notes and every change in what a step is waiting for")

	root.AddGroup(
		&cobra.Group{ID: "cluster", Title: "Clusters:"},
		&cobra.Group{ID: "tools", Title: "Tools:"},
	)
	root.AddCommand(
		a.upCommand(), a.planCommand(), a.statusCommand(), a.downCommand(), a.snapshotCommand(), a.snapshotsCommand(), a.keepCommand(), a.rebuildCommand(), a.drillCommand(), a.migrateCommand(), a.rehearseCommand(), a.runCommand(), a.listCommand(), a.gcCommand(),
		a.serveCommand(), a.assetsCommand(), a.schemaCommand(), a.versionCommand(), a.superviseCommand(), a.tokenCommand(),
	)
	root.SetCompletionCommandGroupID("tools")
	root.SetHelpCommand(helpCommand())
	root.SetHelpCommandGroupID("tools")
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		exactArgs(c)
		if c.Name() == "completion" { // of its own it has neither, and helps with any argument
			c.Args, c.RunE = noSuchCommand, func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return root
}

// noSuchCommand makes what is no command of this one a fault with a hint.
func noSuchCommand(of *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fault.New(fault.Usage, "%s has no command %q", of.CommandPath(), args[0])
	for _, c := range of.Commands() {
		if slices.Contains(c.SuggestFor, args[0]) { // what other tools call it; what is merely spelled alike would distract
			return err.WithHint("did you mean %s?", c.Name())
		}
	}
	if near := of.SuggestionsFor(args[0]); len(near) > 0 && args[0] != "" { // with which all begin
		return err.WithHint("did you mean %s?", strings.Join(near, " or "))
	}
	return err.WithHint("%s --help", of.CommandPath())
}

// helpCommand is cobra's, but that an unknown command is a fault.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command",
		Args:  cobra.ArbitraryArgs,
		ValidArgsFunction: func(c *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
			of, _, err := c.Root().Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, sub := range of.Commands() {
				if sub.IsAvailableCommand() && strings.HasPrefix(sub.Name(), begin) {
					names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			of, rest, err := c.Root().Find(args)
			if err != nil {
				return err
			}
			if err := noSuchCommand(of, rest); err != nil {
				return err
			}
			of.InitDefaultHelpFlag()
			return of.Help()
		},
	}
}

// exactArgs makes a wrong number of arguments of a command, and of those below it, a fault with a hint.
func exactArgs(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = cobra.NoArgs
	}
	if c.ValidArgsFunction == nil && !c.HasSubCommands() && check(c, []string{"x"}) != nil {
		c.ValidArgsFunction = cobra.NoFileCompletions // else the shell offers files
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return badArguments(c, args, err)
		}
		return nil
	}
	for _, sub := range c.Commands() {
		exactArgs(sub)
	}
}

// checkReport refuses --report where nothing is run that it could tell of, and where it could not be written at the end.
func (a *app) checkReport(c *cobra.Command) error {
	if a.reportFile == "" {
		return nil
	}
	name := c.Name()
	dry, _ := c.Flags().GetBool(dryRunFlag) // false where there is no such flag
	if dry {
		name += " --" + dryRunFlag
	}
	if dry || slices.Contains([]string{"plan", "list", "snapshots", "schema", "version", "serve", "assets"}, name) {
		file := a.reportFile
		a.reportFile = "" // nor of this
		return fault.New(fault.Usage, "--report %s: %s runs nothing to report on", file, name).WithHint("%s -o json prints what it finds, for programs", name)
	}
	if err := report.Writable(a.reportFile); err != nil {
		return fault.Wrap(err, fault.Usage, "--report").WithHint("give --report a file in a folder that exists and can be written")
	}
	return nil
}

// open makes the reporter, once the flags are known, unless they are wrong.
func (a *app) open(c *cobra.Command) error {
	if err := emptyFlag(c); err != nil {
		return err
	}
	if err := a.checkReport(c); err != nil {
		return err
	}
	format, err := report.ParseFormat(a.output)
	if err != nil {
		return err
	}
	a.tellBy(report.Options{Format: format, HTML: a.reportFile, Verbose: a.verbose, Redactor: a.Secrets})
	return nil
}

func (a *app) tellBy(o report.Options) {
	a.telling.Lock()
	defer a.telling.Unlock()
	o.Hurry = a.hurry
	a.rep = report.New(a.stdout, a.stderr, o)
	a.Tell = a.rep
}

// message tells something that belongs to no step; before there is a reporter there is nothing to tell.
func (a *app) message(text string) {
	a.telling.Lock()
	defer a.telling.Unlock()
	if a.rep != nil {
		a.rep.Message(text)
	}
}

// fault tells the error that ends the run, unless the report of the run told it already, and returns it as it was told.
func (a *app) fault(err error) error {
	if a.rep == nil { // the arguments were wrong: it is told in the format that they ask for
		a.tellBy(report.Options{Format: a.formatAsked(), Redactor: a.Secrets})
	}
	if a.limited != nil {
		err = operate.InTime(a.limited, err)
	}
	return a.rep.Fault(err)
}

// formatAsked is the format that the arguments ask for, also behind the first that is wrong, where cobra has not read them.
func (a *app) formatAsked() report.Format {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.ParseErrorsAllowlist.UnknownFlags = true
	f.StringVarP(&a.output, "output", "o", a.output, "")
	for _, name := range []string{"yes", "verbose", "help"} { // which may be in one word with it
		f.BoolP(name, name[:1], false, "")
	}
	_ = f.Parse(a.args) // what is wrong with them is being told
	format, _ := report.ParseFormat(a.output)
	return format
}

// leavable is an output whose reader may go away before the end, as head does. That is no fault of a help text.
type leavable struct{ to io.Writer }

func (l leavable) Write(p []byte) (int, error) {
	n, err := l.to.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		return len(p), nil
	}
	return n, err
}

// limit bounds the run by its time limit.
func (a *app) limit(ctx context.Context) context.Context {
	a.limited, a.unlimit = operate.WithTimeout(ctx, a.timeout)
	return a.limited
}

func (a *app) close() {
	if a.unlimit != nil {
		a.unlimit()
	}
	if a.rep != nil {
		a.rep.Close()
	}
}
