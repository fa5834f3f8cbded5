// Command rekindle gives back the cluster: from an ops repository and a key it provisions one,
// installs the helper stack and a reconciler, and proves that what came up is what the repository says.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole command: it returns the exit code (docs/exit-codes.md).
func run(args []string, stdin *os.File, stdout, stderr *os.File) int {
	ctx, stop := interruptible(stderr)
	defer stop()
	a := newApp(stdin, stdout, stderr)
	defer a.close()
	root := a.root()
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		a.fault(err)
		return fault.Code(err)
	}
	return fault.ExitProven
}

// interruptible gives a context that ends with the first SIGINT or SIGTERM. The second ends the
// process at once: every step can be killed at any point and run again.
func interruptible(stderr *os.File) (context.Context, func()) {
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
		_, _ = stderr.WriteString("\rinterrupted: stopping cleanly; once more stops at once\n")
		cancel()
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
