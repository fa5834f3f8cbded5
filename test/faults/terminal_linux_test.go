package faults

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestACommandOfRunHasTheTerminal shows that it reads what is typed, that Ctrl-C is for it alone and Ctrl-Z does not stop
// it with nobody there to continue it; and that the terminal is given back: the shell reads from it afterwards, and adds that
// to the exit code.
func TestACommandOfRunHasTheTerminal(t *testing.T) {
	w := newWorld(t)
	const shell = `"$@"; code=$?; echo my tur""n; read more && exit $((code + more))`
	for _, c := range []struct {
		command, typed string
		want           int
	}{
		{`echo your tur""n; read x; exit $x`, "\x1a7\n", 8},
		{`trap "exit 9" INT; echo your tur""n; read x`, "\x03", 10},
		{`echo your tur""n; read x`, "\x03", 131},
	} {
		cmd := func(ctx context.Context) *exec.Cmd {
			run := w.cmd(ctx, "run", bareFile, "--", "sh", "-c", c.command)
			run.Path, run.Args = "/bin/sh", append([]string{"sh", "-c", shell, "sh"}, append([]string{binary}, run.Args[1:]...)...)
			return run
		}
		if code, out := w.onTerminal(cmd, "your turn", c.typed, "my turn", "1\n"); code != c.want {
			t.Errorf("%s: exit %d, want %d\n%s", c.command, code, c.want, out)
		}
		w.nothingLeft()
	}
}

// TestAQuestionEndsWithTheRun also when nobody answers it.
func TestAQuestionEndsWithTheRun(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		typed string
		want  int
		says  string
		args  []string
	}{
		{"\x03", 130, "interrupted", []string{"down", bareFile}},
		{"", 1, "no answer in time", []string{"down", bareFile, "--timeout", "5s"}},
		{"no\n", 3, "not confirmed", []string{"down", bareFile}},
		{"yes\n", 0, "proven", []string{"down", bareFile}},
	} {
		cmd := func(ctx context.Context) *exec.Cmd { return w.cmd(ctx, c.args...) }
		if code, out := w.onTerminal(cmd, "[y/N]", c.typed); code != c.want || !strings.Contains(out, c.says) {
			t.Errorf("%v, typed %q: exit %d, want %d and %q\n%s", c.args, c.typed, code, c.want, c.says, out)
		}
	}
}

// onTerminal runs a command on a terminal of its own. Once a text is there it types what follows that, and so on.
func (w *world) onTerminal(make func(context.Context) *exec.Cmd, dialogue ...string) (code int, out string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Minute)
	defer cancel()
	master, slave := w.terminal()
	defer master.Close()
	cmd := make(ctx)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err := cmd.Start()
	_ = slave.Close()
	if err != nil {
		w.t.Fatal(err)
	}
	var shown strings.Builder
	for part := [4096]byte{}; err == nil; {
		var n int
		n, err = master.Read(part[:]) // fails when nobody has the terminal any more
		shown.Write(part[:n])
		if len(dialogue) > 0 && strings.Contains(shown.String(), dialogue[0]) {
			if _, err := io.WriteString(master, dialogue[1]); err != nil {
				w.t.Error(err)
			}
			dialogue = dialogue[2:]
		}
	}
	_ = cmd.Wait() // its exit code is what is looked at
	return cmd.ProcessState.ExitCode(), shown.String()
}

// terminal makes a terminal: the end that types and sees, and the one that a command gets.
func (w *world) terminal() (master, slave *os.File) {
	w.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		w.t.Skip("there are no terminals here: ", err)
	}
	err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	n := 0
	if err == nil {
		n, err = unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		_ = master.Close()
		w.t.Fatal(err)
	}
	return master, slave
}
