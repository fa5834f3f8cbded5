// Command rekindle gives back the cluster: from an ops repository and a key it provisions one,
// installs the helper stack and a reconciler, and proves that what came up is what the repository says.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

func main() {
	// Else a reader of our output that goes away kills the run where it is, and its cluster stays. So a write to it fails,
	// and the run goes on. What we start has the default again, which it had not if the signal were ignored.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole command: it returns the exit code (docs/exit-codes.md).
func run(args []string, stdin *os.File, stdout, stderr *os.File) int {
	klog.SetLogger(logr.Discard()) // only report prints, not client-go
	log.SetOutput(io.Discard)      // nor Helm
	a := newApp(stdin, stdout, stderr)
	ctx, stop := interruptible(a.message)
	defer stop()
	defer a.close()
	a.args, a.hurry = args, ctx.Done()
	root := a.root()
	root.SetArgs(args)
	if err := execute(ctx, root); err != nil {
		return fault.Code(a.fault(err))
	}
	return fault.ExitProven
}

// execute makes a panic the command's error. Else Go would end the process with the code of bad usage, after which nothing has
// been changed, and the report would be missing.
func execute(ctx context.Context, root *cobra.Command) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fault.Panic(v)
		}
	}()
	return root.ExecuteContext(ctx)
}

// interruptible gives a context that ends with the first SIGINT or SIGTERM. The second ends the
// process at once: every step can be killed at any point and run again. Neither waits for it to be told: where that goes to
// may have stalled.
func interruptible(tell func(string)) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
		case <-done:
			return
		}
		cancel()
		go tell("interrupted: stopping cleanly; interrupt again to stop at once")
		select {
		case <-signals:
			os.Exit(fault.ExitInterrupted)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}
