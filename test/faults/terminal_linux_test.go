package faults

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestACommandOfRunHasTheTerminal shows that it reads what is typed, that Ctrl-C is for it alone and Ctrl-Z does not stop
// it with nobody there to continue it.
func TestACommandOfRunHasTheTerminal(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		command, typed string
		want           int
	}{
		{`echo your tur""n; read x; exit $x`, "\x1a7\n", 7},
		{`trap "exit 9" INT; echo your tur""n; read x`, "\x03", 9},
		{`echo your tur""n; read x`, "\x03", 130},
	} {
		if code, out := w.onTerminal("your turn", c.typed, "run", bareFile, "--", "sh", "-c", c.command); code != c.want {
			t.Errorf("%s: exit %d, want %d\n%s", c.command, code, c.want, out)
		}
		w.nothingLeft()
	}
}

// TestAQuestionEndsWithTheRun also when nobody answers it.
func TestAQuestionEndsWithTheRun(t *testing.T) {
	w := newWorld(t)
	w.must("up", bareFile) // of a cluster that is gone nothing is asked
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
		if code, out := w.onTerminal("[y/N]", c.typed, c.args...); code != c.want || !strings.Contains(out, c.says) {
			t.Errorf("%v, typed %q: exit %d, want %d and %q\n%s", c.args, c.typed, code, c.want, c.says, out)
		}
	}
	w.nothingLeft()
}

// onTerminal runs rekindle on a terminal of its own, and types once it is prompted. It does so from a shell, as a user does, that
// reads from the terminal afterwards, which shows that it was given back. (When the first process of a terminal ends, Linux drops
// what nobody has read of it yet; so that must not be the one whose words are looked at.)
func (w *world) onTerminal(prompt, typed string, args ...string) (code int, out string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Minute)
	defer cancel()
	master, slave := w.terminal()
	defer master.Close()
	const shell = `trap : INT; "$@"; code=$?; echo my tur""n; read more && exit $((code + more))`
	cmd := w.cmd(ctx, args...)
	cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", shell, "sh", binary}, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err := cmd.Start()
	_ = slave.Close()
	if err != nil {
		w.t.Fatal(err)
	}
	const more = 1
	answers := map[string]string{prompt: typed, "my turn": fmt.Sprintln(more)}
	var shown strings.Builder
	for part := [4096]byte{}; err == nil; {
		var n int
		n, err = master.Read(part[:]) // fails when nobody has the terminal any more
		shown.Write(part[:n])
		for question, answer := range answers {
			if strings.Contains(shown.String(), question) {
				delete(answers, question)
				if _, err := io.WriteString(master, answer); err != nil {
					w.t.Error(err)
				}
			}
		}
	}
	_ = cmd.Wait() // its exit code is what is looked at
	return cmd.ProcessState.ExitCode() - more, shown.String()
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
