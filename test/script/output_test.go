package script

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/test/repos"
)

// TestAnOutputThatNobodyReadsChangesNoExitCode closes the readers before the command begins, and is no fault to tell of.
func TestAnOutputThatNobodyReadsChangesNoExitCode(t *testing.T) {
	dir, env := home(t)
	for line, want := range map[string]int{
		"schema": 0, "version -o json": 0, "completion bash": 0, "--help": 0, "plan --help": 0,
		"plan shop/clusters/dev/cluster.yaml --source-from shop":         0,
		"plan shop/clusters/dev/cluster.yaml --source-from shop -o json": 0,
		"plan nothere.yaml": 2, "plan nothere.yaml -o json": 2, "frobnicate": 2,
	} {
		command := func() *exec.Cmd {
			cmd := exec.CommandContext(t.Context(), "rekindle", strings.Fields(line)...)
			cmd.Dir, cmd.Env = dir, env
			return cmd
		}
		noOut, noErr, neither := command(), command(), command()
		var rest bytes.Buffer
		noOut.Stdout, noOut.Stderr = nobody(t), &rest
		noErr.Stdout, noErr.Stderr = &rest, nobody(t)
		neither.Stdout, neither.Stderr = nobody(t), nobody(t)
		for name, cmd := range map[string]*exec.Cmd{"stdout": noOut, "stderr": noErr, "both": neither} {
			_ = cmd.Run() // the exit code is what is looked at
			if got := cmd.ProcessState.ExitCode(); got != want {
				t.Errorf("%s, nobody reads %s: exit code %d (%s), want %d", line, name, got, cmd.ProcessState, want)
			}
		}
		if strings.Contains(rest.String(), "broken pipe") {
			t.Errorf("%s: it tells who listens that somebody else does not:\n%s", line, rest.String())
		}
	}
}

// TestAnInterruptIsNotTiedToItsTelling interrupts a command whose error output takes nothing any more.
func TestAnInterruptIsNotTiedToItsTelling(t *testing.T) {
	dir, env := home(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "rekindle", "serve", "shop")
	cmd.Dir, cmd.Env, cmd.Stderr = dir, env, full(t)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if url, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || !strings.HasPrefix(url, "http") {
		t.Errorf("%q, %v", url, err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestAProgramFindsTheURLOfTheServer reads the lines that serve prints, which may have messages before it.
func TestAProgramFindsTheURLOfTheServer(t *testing.T) {
	dir, env := home(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "rekindle", "serve", "shop", "-o", "json")
	cmd.Dir, cmd.Env = dir, env
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var line struct{ Type, URL string }
	for lines := json.NewDecoder(stdout); line.Type != "server"; {
		if err := lines.Decode(&line); err != nil || line.Type == "" {
			t.Fatalf("%+v, %v", line, err)
		}
	}
	if !strings.HasPrefix(line.URL, "http://127.0.0.1:") {
		t.Errorf("the URL is %q", line.URL)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// home gives a folder with the sample repository in shop, and an environment for the command there.
func home(t *testing.T) (dir string, env []string) {
	t.Helper()
	dir = t.TempDir()
	r, err := repos.Make(dir)
	if err != nil {
		t.Fatal(err)
	}
	key, err := r.Key()
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "home")
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, slices.Concat(os.Environ(), []string{"HOME=" + own, "SOPS_AGE_KEY=" + key})
}

// nobody is a pipe that nobody reads.
func nobody(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// full is a pipe that takes nothing, as what is in it is not read.
func full(t *testing.T) *os.File {
	t.Helper()
	var ends [2]int
	if err := syscall.Pipe(ends[:]); err != nil {
		t.Fatal(err)
	}
	err := syscall.SetNonblock(ends[1], true)
	for err == nil {
		_, err = syscall.Write(ends[1], make([]byte, 1<<10))
	}
	if err != syscall.EAGAIN {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(ends[1], false); err != nil {
		t.Fatal(err)
	}
	r, w := os.NewFile(uintptr(ends[0]), "read"), os.NewFile(uintptr(ends[1]), "write")
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return w
}
