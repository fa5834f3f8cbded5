package kwok_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
	"github.com/rekindle-dev/rekindle/providers/kwok"
	"github.com/rekindle-dev/rekindle/providers/kwok/kwoktest"
	"github.com/rekindle-dev/rekindle/providers/providertest"
)

// First arguments with which the test binary plays other programs.
const (
	playEnsure = "play-ensure" // STATE NAME LINES: tells each progress on a line, and goes no further when it has told so many
	playDelete = "play-delete" // STATE NAME LINES: likewise
)

// thereAndThen is no time at all: the other process goes no further by itself.
const thereAndThen time.Duration = -1

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && strings.HasPrefix(os.Args[1], "play-") {
		if err := play(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	kwoktest.Main(m)
}

func play(role string, args []string) error {
	ctx := context.Background()
	p, err := newProvider(args[0], 1)
	if err != nil {
		return err
	}
	last, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	told := 0
	say := func(line string) {
		fmt.Println(line)
		if told++; told == last {
			_, _ = io.Copy(io.Discard, os.Stdin) // ends with who started it
			os.Exit(1)
		}
	}
	tell := func(u plan.Update) { say(fmt.Sprintf("%+v", u)) }
	say("begin")
	if role == playDelete {
		return p.Delete(ctx, ref(args[1]), tell)
	}
	_, err = p.Ensure(ctx, providers.Spec{Name: args[1], Run: "run-1", TTL: 3600e9}, tell)
	return err
}

func ref(name string) providers.Ref { return providers.Ref{Provider: kwok.Name, Name: name} }

// newProvider makes one whose supervisors outlive the process that started them, as those of the real
// command do, but not the test binary.
func newProvider(state string, nodes int) (*kwok.Provider, error) {
	o := kwoktest.Options(state)
	o.Nodes = nodes
	return kwok.New(o)
}

func mustProvider(t *testing.T, state string, nodes int) *kwok.Provider {
	t.Helper()
	p, err := newProvider(state, nodes)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// other starts another process that works on the state folder, and kills it some time after it has told
// so many lines, or there and then. It reports whether it was killed; otherwise it had come to its end before.
func other(t *testing.T, role, state, name string, lines int, after time.Duration) (killed bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	if after == thereAndThen {
		last = lines
	}
	cmd := exec.Command(self, role, state, name, strconv.Itoa(last))
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // it is open for as long as this process lives
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told := bufio.NewScanner(out)
	for n := 0; n < lines && told.Scan(); n++ {
	}
	if err := wait.Sleep(t.Context(), after); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() {
		return true
	}
	if err != nil {
		t.Fatalf("%s %s: %v", role, name, err)
	}
	return false
}

func TestProvider(t *testing.T) {
	state := filepath.Join(t.TempDir(), "a folder, of 'mine'") // as a home folder may be called
	providertest.Run(t, providertest.Subject{
		Name: kwok.Name, Prefix: "suite-", Nodes: 2, Parallel: 4,
		New: func(t *testing.T) providers.Provider { return mustProvider(t, state, 2) },
		Foreign: func(t *testing.T, name string) func() error {
			file := filepath.Join(state, "clusters", name, "precious")
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			return func() error {
				entries, err := os.ReadDir(filepath.Dir(file))
				if err == nil && len(entries) != 1 {
					err = fmt.Errorf("the folder holds %v", entries)
				}
				return err
			}
		},
		HalfMade: func(t *testing.T, s providers.Spec) {
			if !other(t, playEnsure, state, s.Name, 3, thereAndThen) {
				t.Fatal("it was not killed in the middle")
			}
		},
	})
}
