// Package kwoktest gives tests a real API server with simulated nodes.
//
// A test binary that uses it has
//
//	func TestMain(m *testing.M) { kwoktest.Main(m) }
//
// and its tests call [Shared] for the cluster of the binary, or [Cluster] for one of their own. All
// are gone when the binary ends, also when it is killed. Programs that are missing are made first,
// which takes minutes, once for a machine.
package kwoktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok"
)

// SuperviseArg as first argument makes the test binary a supervisor; the process for whose life follows, and then
// the folder.
const SuperviseArg = "rekindle-test-supervise"

// What Main tells the tests of a binary, and the other processes that they start.
const (
	stateEnv = "REKINDLE_KWOKTEST_STATE" // the folder that it has made for their clusters
	ownerEnv = "REKINDLE_KWOKTEST_OWNER" // its process id
)

// Main is the whole of a TestMain: it runs the tests and removes the clusters, or acts as the
// supervisor of one of them. It does not return.
func Main(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == SuperviseArg {
		os.Exit(supervise(os.Args[2], os.Args[3]))
	}
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	state, err := os.MkdirTemp("", "rekindle-kwok-")
	if err == nil {
		err = errors.Join(os.Setenv(stateEnv, state), os.Setenv(ownerEnv, strconv.Itoa(os.Getpid())))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kwoktest:", err)
		return 1
	}
	defer func() {
		if err := removeAll(state); err != nil {
			fmt.Fprintln(os.Stderr, "kwoktest:", err)
			code = 1
		}
	}()
	return m.Run()
}

// supervise plays the supervisor for as long as the test binary lives. That is not always its parent: a
// test may start other processes that make clusters, and kill them.
func supervise(owner, folder string) int {
	pid, err := strconv.Atoi(owner)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		for syscall.Kill(pid, 0) == nil {
			if wait.Sleep(ctx, time.Second) != nil {
				return
			}
		}
	}()
	err = kwok.Supervise(ctx, folder)
	if err == nil && ctx.Err() != nil { // the binary was killed, so nobody else does it
		err = os.RemoveAll(folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Options are those that a provider needs in a test binary: clusters in state, with the binary as their
// supervisor.
func Options(state string) kwok.Options {
	return kwok.Options{State: state, Supervisor: []string{self(), SuperviseArg, os.Getenv(ownerEnv)}}
}

// removeAll deletes all clusters of a state folder, and the folder.
func removeAll(state string) error {
	p, err := kwok.New(Options(state))
	if err != nil {
		return err
	}
	ctx := context.Background()
	list, err := p.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		if err := p.Delete(ctx, c.Ref, nil); err != nil {
			return err
		}
	}
	return os.RemoveAll(state)
}

// Provider is a provider whose clusters end with the test binary.
func Provider(t testing.TB) *kwok.Provider {
	t.Helper()
	state := os.Getenv(stateEnv)
	if state == "" {
		t.Fatal("this test binary needs: func TestMain(m *testing.M) { kwoktest.Main(m) }")
	}
	p, err := kwok.New(Options(state))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Shared is the one cluster that all tests of the binary share. Tests keep apart by namespaces.
func Shared(t testing.TB) *providers.Cluster {
	t.Helper()
	return ensure(t, Provider(t), "shared")
}

// Cluster is a cluster of the test's own, deleted at its end.
func Cluster(t testing.TB) *providers.Cluster {
	t.Helper()
	p := Provider(t)
	list, err := p.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("own-%d-%d", len(list), time.Now().UnixNano()%1e9)
	t.Cleanup(func() {
		if err := p.Delete(context.WithoutCancel(t.Context()), providers.Ref{Provider: kwok.Name, Name: name}, nil); err != nil {
			t.Error(err)
		}
	})
	return ensure(t, p, name)
}

func ensure(t testing.TB, p *kwok.Provider, name string) *providers.Cluster {
	t.Helper()
	c, err := p.Ensure(t.Context(), providers.Spec{Name: name}, func(u plan.Update) {
		if u.Note != "" {
			t.Log(u.Note)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Write is one write to an API server.
type Write struct {
	Time  time.Time
	User  string
	Agent string // user agent of the client
	Verb  string
	URI   string
	Code  int // of the answer
}

// String is "rekindle patch /api/v1/... 200".
func (w Write) String() string { return fmt.Sprintf("%s %s %s %d", w.User, w.Verb, w.URI, w.Code) }

// AuditWrites gives what the holder of the cluster's kubeconfig wrote to its API server since a
// time, dry runs and leases left out. It leaves out the cluster's own controllers and those on the host.
func AuditWrites(t testing.TB, c *providers.Cluster, since time.Time) []Write {
	t.Helper()
	var own []Write
	for _, w := range AllWrites(t, c, since) {
		if w.User == "rekindle" && !strings.Contains(w.URI, "dryRun=All") {
			own = append(own, w)
		}
	}
	return own
}

// AllWrites is AuditWrites for everybody and with dry runs.
func AllWrites(t testing.TB, c *providers.Cluster, since time.Time) []Write {
	t.Helper()
	raw, err := os.ReadFile(Provider(t).AuditLog(c.Ref))
	if err != nil {
		t.Fatal(err)
	}
	raw = raw[:bytes.LastIndexByte(raw, '\n')+1] // what others do meanwhile may be half written
	var writes []Write
	for line := range bytes.Lines(raw) {
		var event struct {
			RequestReceivedTimestamp time.Time
			User                     struct{ Username string }
			UserAgent, Verb          string
			RequestURI, Stage        string
			ResponseStatus           struct{ Code int }
		}
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatalf("audit log: %v", err)
		}
		if event.Stage != "ResponseComplete" || event.RequestReceivedTimestamp.Before(since) {
			continue
		}
		writes = append(writes, Write{
			Time: event.RequestReceivedTimestamp, User: event.User.Username, Agent: event.UserAgent,
			Verb: event.Verb, URI: event.RequestURI, Code: event.ResponseStatus.Code,
		})
	}
	return writes
}

// self is the test binary.
func self() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}
