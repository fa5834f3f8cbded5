package main

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/report"
	"github.com/rekindle-dev/rekindle/internal/startup"
)

// app is one run of the command: its streams, its global flags, and what tells of it.
type app struct {
	stdin          io.Reader
	stdout, stderr *os.File

	output     string
	reportFile string
	timeout    time.Duration
	yes        bool
	kubeconfig string
	verbose    bool
	trust      bool // a document of a repository may use this machine

	hurry   <-chan struct{} // closed when it was interrupted
	lost    func(error)     // ends the session: a lease that it held was lost
	secrets *report.Redactor
	telling sync.Mutex // guards rep against message, which a signal calls at any time
	rep     *report.Reporter
}

func newApp(stdin io.Reader, stdout, stderr *os.File) *app {
	return &app{stdin: stdin, stdout: stdout, stderr: stderr, secrets: report.NewRedactor()}
}

// root is the command with everything below it. This is the one place that lists the commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "rekindle",
		Short: "Give it an ops repository and a key; it gives back the cluster",
		Long: `rekindle provisions an empty Kubernetes cluster, installs the helper stack and a
reconciler, points it at the ops repository, and proves that what came up is what
the repository says.

Exit codes: 0 proven, 1 failed, 2 bad usage or documents, 3 refused, 130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,

		Version: buildVersion(),
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			startup.Done()
			if err := a.checkReport(c); err != nil {
				return err
			}
			return a.open()
		},
		Args: noSuchCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(a.stdin)
	root.SetOut(leavable{a.stdout})
	root.SetErr(leavable{a.stderr})
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fault.Wrap(err, fault.Usage, "bad usage").WithHint("%s --help", c.CommandPath())
	})
	f := root.PersistentFlags()
	f.StringVarP(&a.output, "output", "o", "text", "tell what happens in this `FORMAT`: text, or json (one event a line)")
	f.StringVar(&a.reportFile, "report", "", "write a self-contained HTML report to this `FILE`")
	f.DurationVar(&a.timeout, "timeout", 0, "bound of the whole run, a `DURATION` like 20m (default: each step has its own)")
	f.BoolVarP(&a.yes, "yes", "y", false, "answer yes to every question, including that of cutover")
	f.StringVar(&a.kubeconfig, "kubeconfig", "", "the kubeconfig `FILE` in which an existing cluster is found, and which gets the context of any other (default: the document's, $KUBECONFIG or ~/.kube/config)")
	f.BoolVar(&a.trust, trustFlag, false, "let a document that is given as URL//PATH run commands and read files of this machine")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "tell notes and every change of what a step waits for")

	root.AddGroup(
		&cobra.Group{ID: "cluster", Title: "Clusters:"},
		&cobra.Group{ID: "tools", Title: "Tools:"},
	)
	root.AddCommand(
		a.upCommand(), a.planCommand(), a.statusCommand(), a.downCommand(), a.snapshotCommand(), a.snapshotsCommand(), a.keepCommand(), a.rebuildCommand(), a.drillCommand(), a.migrateCommand(), a.rehearseCommand(), a.runCommand(), a.listCommand(), a.gcCommand(),
		a.serveCommand(), a.assetsCommand(), a.schemaCommand(), a.versionCommand(), a.superviseCommand(), a.tokenCommand(),
	)
	root.SetCompletionCommandGroupID("tools")
	root.SetHelpCommandGroupID("tools")
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		exactArgs(c)
	}
	return root
}

// noSuchCommand makes what is no command a fault with a hint.
func noSuchCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fault.New(fault.Usage, "%s has no command %q", root.Name(), args[0])
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		return err.WithHint("did you mean %s?", strings.Join(near, " or "))
	}
	return err.WithHint("%s --help", root.Name())
}

// exactArgs makes a wrong number of arguments of a command, and of those below it, a fault with a hint.
func exactArgs(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = cobra.NoArgs
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return fault.Wrap(err, fault.Usage, "bad usage").WithHint("%s", c.UseLine())
		}
		return nil
	}
	for _, sub := range c.Commands() {
		exactArgs(sub)
	}
}

// checkReport refuses --report where nothing is run that it could tell of, and where it could not be written at the end.
func (a *app) checkReport(c *cobra.Command) error {
	switch name := c.Name(); {
	case a.reportFile == "":
		return nil
	case slices.Contains([]string{"plan", "list", "snapshots", "schema", "version", "serve", "assets"}, name):
		file := a.reportFile
		a.reportFile = "" // nor of this
		return fault.New(fault.Usage, "--report %s: %s runs nothing that a report could tell of", file, name).WithHint("%s -o json prints what it finds, for programs", name)
	}
	if err := report.Writable(a.reportFile); err != nil {
		return fault.Wrap(err, fault.Usage, "--report").WithHint("give --report a file in a folder that exists and can be written")
	}
	return nil
}

// open makes the reporter, once the flags are known.
func (a *app) open() error {
	format, err := report.ParseFormat(a.output)
	if err != nil {
		return err
	}
	a.tellBy(report.Options{Format: format, HTML: a.reportFile, Verbose: a.verbose, Redactor: a.secrets})
	return nil
}

func (a *app) tellBy(o report.Options) {
	a.telling.Lock()
	defer a.telling.Unlock()
	o.Hurry = a.hurry
	a.rep = report.New(a.stdout, a.stderr, o)
}

// message tells something that belongs to no step; before there is a reporter there is nothing to tell.
func (a *app) message(text string) {
	a.telling.Lock()
	defer a.telling.Unlock()
	if a.rep != nil {
		a.rep.Message(text)
	}
}

// fault tells the error that ends the run, unless the report of the run told it already.
func (a *app) fault(err error) {
	if a.rep == nil { // the arguments were wrong: it is told in the format asked for, as far as that is known
		format, _ := report.ParseFormat(a.output)
		a.tellBy(report.Options{Format: format, Redactor: a.secrets})
	}
	a.rep.Fault(err)
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

func (a *app) close() {
	if a.rep != nil {
		a.rep.Close()
	}
}
