// Package rekindletest gives Go tests ephemeral Kubernetes clusters, made and proven by rekindle.
//
//	func TestMain(m *testing.M) { os.Exit(rekindletest.Main(m)) }
//
//	func TestShop(t *testing.T) {
//		cluster := rekindletest.Cluster(t, "../clusters/test/cluster.yaml", rekindle.Options{SourceFrom: ".."})
//		client, err := kubernetes.NewForConfig(cluster.REST)
//		…
//	}
//
// With Provider "kwok" a cluster has a real API server and simulated nodes, needs no container, and is there in seconds.
package rekindletest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/operate"
)

// beforeDeadline is when clusters are deleted before the time of a test binary is over: it would be killed with them there.
const beforeDeadline = 30 * time.Second

// errFailed is what a run whose test failed ends with.
const errFailed = testError("the test failed")

type testError string

func (e testError) Error() string { return string(e) }

// Main runs the tests of a package, for its TestMain, and gives the exit code. With it the test binary does what clusters on
// simulated nodes need the rekindle command for, so that this need not be installed.
func Main(m *testing.M) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if done, err := operate.Helper(ctx, os.Args[1:], os.Stdout); done {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	stop() // a signal ends the tests, as ever
	self, err := os.Executable()
	if err == nil && os.Getenv(rekindle.ProgramEnv) == "" {
		err = os.Setenv(rekindle.ProgramEnv, self)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Cluster makes a cluster from a document for the time of a test, and of those below it, and fails the test if it does not come
// up proven. It goes away in the test's cleanup, before what was registered earlier. Progress is in the log of the test. A test
// that is killed leaves its cluster behind; rekindle gc deletes it once its TTL is over, and rekindle gc --dead at once.
func Cluster(t testing.TB, document string, o rekindle.Options) *rekindle.Running {
	t.Helper()
	return ClusterFor(t, document, o, rekindle.RunOptions{})
}

// ClusterFor is Cluster that may leave something: the cluster or what there was to see, after the test has failed.
func ClusterFor(t testing.TB, document string, o rekindle.Options, r rekindle.RunOptions) *rekindle.Running {
	t.Helper()
	if o.Log == nil {
		o.Log = t.Output()
	}
	ctx, cancel := bounded(t)
	up, over, ended := make(chan *rekindle.Running), make(chan bool, 1), make(chan error, 1)
	go func() {
		defer cancel()
		_, err := rekindle.Run(ctx, document, o, r, func(ctx context.Context, c *rekindle.Running) error {
			up <- c
			select {
			case failed := <-over:
				if failed {
					return errFailed
				}
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		ended <- err
	}()
	select {
	case err := <-ended:
		t.Fatalf("a cluster of %s:\n%s", document, rekindle.Explain(err))
		return nil
	case c := <-up:
		t.Cleanup(func() {
			over <- t.Failed() || panics()
			if err := beside(<-ended, errFailed); err != nil {
				t.Errorf("the cluster %s:\n%s", c.Name, rekindle.Explain(err))
			}
		})
		return c
	}
}

// panics says whether a test panics, in whose cleanup this is called: testing calls it failed only when it is cleaned up.
func panics() bool {
	var callers [32]uintptr // what panicked is just below what cleans up
	frames := runtime.CallersFrames(callers[:runtime.Callers(0, callers[:])])
	for frame, more := frames.Next(); more; frame, more = frames.Next() {
		if frame.Function == "runtime.gopanic" {
			return true
		}
	}
	return false
}

// beside is what an error has beside a known one; nil if nothing.
func beside(err, known error) error {
	return fault.Join(slices.DeleteFunc(slices.Clone(fault.All(err)), func(one error) bool { return errors.Is(one, known) })...)
}

// bounded is a context for what is cleaned up after a test, whose own context has ended by then.
func bounded(t testing.TB) (context.Context, context.CancelFunc) {
	ctx := context.WithoutCancel(t.Context())
	if limited, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if deadline, ok := limited.Deadline(); ok {
			return context.WithDeadlineCause(ctx, deadline.Add(-beforeDeadline),
				fault.New(fault.Failed, "the time of the tests is over in %s, which are for deleting clusters", beforeDeadline).
					WithHint("give go test a longer -timeout"))
		}
	}
	return context.WithCancel(ctx)
}
