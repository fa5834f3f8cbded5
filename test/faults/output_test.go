package faults

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestTheReaderOfTheOutputGoesAway after its first line, as head does: the run goes on and ends with its own exit code.
func TestTheReaderOfTheOutputGoesAway(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		stderr bool
		want   int
		args   []string
	}{
		{false, 7, []string{"run", "-o", "json", bareFile, "--", "sh", "-c", "exit 7"}},
		{true, 0, []string{"rehearse", bareFile}},
	} {
		r, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		var other bytes.Buffer
		cmd := w.cmd(ctx, c.args...)
		cmd.Stdout, cmd.Stderr = out, &other
		if c.stderr {
			cmd.Stdout, cmd.Stderr = &other, out
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = out.Close()
		if line, err := bufio.NewReader(r).ReadString('\n'); err != nil {
			t.Errorf("%q, %v", line, err)
		}
		_ = r.Close()
		_ = cmd.Wait() // its exit code is what is looked at
		if code := cmd.ProcessState.ExitCode(); code != c.want {
			t.Errorf("%v: exit %d (%s), want %d\n%s", c.args, code, cmd.ProcessState, c.want, other.String())
		}
		w.nothingLeft()
	}
}

// TestAnInterruptedRunWaitsForNoReader interrupts a run when nobody reads what it tells any more and the pipe has room for one
// line: it cleans up and ends all the same.
func TestAnInterruptedRunWaitsForNoReader(t *testing.T) {
	w := newWorld(t)
	r, out := narrowPipe(t)
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := w.cmd(ctx, "rehearse", "-o", "json", bareFile)
	cmd.Stdout = out
	err := cmd.Start()
	_ = out.Close() // it is the command's
	if err != nil {
		t.Fatal(err)
	}
	for lines := linesOf(r); lines.Scan(); {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Step == "provision" && e.Phase == "succeeded" {
			break
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // its exit code is what is looked at
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit %d (%s), want 130", code, cmd.ProcessState)
	}
	w.nothingLeft()
}
