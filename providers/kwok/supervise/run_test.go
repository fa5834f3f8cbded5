package supervise_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers/kwok/supervise"
)

// playSupervisor as first argument makes the test binary a supervisor.
const playSupervisor = "play-supervisor"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == playSupervisor {
		if err := supervise.Run(context.Background(), os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// folder is an empty one, whose supervisor is stopped at the end.
func folder(t *testing.T) supervise.Folder {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f := supervise.Folder{Path: t.TempDir(), Argv: []string{self, playSupervisor}}
	t.Cleanup(func() {
		if err := f.Stop(context.WithoutCancel(t.Context()), nil); err != nil {
			t.Error(err)
		}
	})
	return f
}

func shell(name, script string) supervise.Process {
	return supervise.Process{Name: name, Path: "/bin/sh", Args: []string{"-c", script}}
}

func apply(t *testing.T, f supervise.Folder, want plan.Outcome, set ...supervise.Process) {
	t.Helper()
	got, err := f.Apply(t.Context(), set, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("the outcome is %q, not %q", got, want)
	}
}

// until waits for a state of the folder.
func until(t *testing.T, f supervise.Folder, what string, check func(map[string]supervise.State) bool) map[string]supervise.State {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var last supervise.Status
	err := wait.Poll(ctx, wait.Func(what, func(context.Context) (bool, string, error) {
		status, err := f.Status()
		last = status
		return err == nil && check(status.Processes), fmt.Sprintf("%+v", status.Processes), err
	}), 50*time.Millisecond, nil)
	if err != nil {
		t.Fatal(err)
	}
	return last.Processes
}

func running(pid int) bool { return pid != 0 && syscall.Kill(pid, 0) == nil }

func TestSetIsBroughtAbout(t *testing.T) {
	f := folder(t)
	a, b := shell("a", "sleep 600"), shell("b", "sleep 600")
	apply(t, f, plan.Changed, b, a)
	first := until(t, f, "both run", func(s map[string]supervise.State) bool { return running(s["a"].Pid) && running(s["b"].Pid) })
	apply(t, f, plan.Unchanged, a, b)

	b.Env = map[string]string{"X": "1"}
	c := shell("c", "sleep 600")
	apply(t, f, plan.Changed, a, b, c)
	second := until(t, f, "the changed one is another process", func(s map[string]supervise.State) bool {
		return running(s["c"].Pid) && running(s["b"].Pid) && s["b"].Pid != first["b"].Pid
	})
	if second["a"].Pid != first["a"].Pid || running(first["b"].Pid) {
		t.Errorf("first %v, then %v", first, second)
	}

	apply(t, f, plan.Changed, c)
	until(t, f, "only one is left", func(s map[string]supervise.State) bool { return len(s) == 1 })
	if err := f.Stop(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{second["a"].Pid, second["b"].Pid, second["c"].Pid} {
		if running(pid) {
			t.Errorf("process %d runs after the end", pid)
		}
	}
	if alive, err := f.Alive(); alive || err != nil {
		t.Errorf("the supervisor lives: %v, %v", alive, err)
	}
	if err := f.Stop(t.Context(), nil); err != nil {
		t.Errorf("stop again: %v", err)
	}
}

func TestWhatEndsIsStartedAgainWithGrowingPauses(t *testing.T) {
	f := folder(t)
	times := filepath.Join(t.TempDir(), "times")
	apply(t, f, plan.Changed, shell("x", "echo $(date +%s%N) >>"+times+"; exit 3"))
	s := until(t, f, "it was started again three times", func(s map[string]supervise.State) bool { return s["x"].Restarts >= 4 })
	if s["x"].LastExit != "exit status 3" {
		t.Errorf("it ended with %q", s["x"].LastExit)
	}
	raw, err := os.ReadFile(times)
	if err != nil {
		t.Fatal(err)
	}
	ran := strings.Fields(string(raw))
	for i, pause := range []time.Duration{200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond} {
		if i+1 >= len(ran) {
			t.Fatalf("it ran %d times", len(ran))
		}
		before, err := strconv.ParseInt(ran[i], 10, 64)
		after, err2 := strconv.ParseInt(ran[i+1], 10, 64)
		if gap := time.Duration(after - before); err != nil || err2 != nil || gap < pause {
			t.Errorf("it was started again after %s, want at least %s (%v, %v)", gap, pause, err, err2)
		}
	}
}

// TestAFullDisk on which no file can be replaced: what runs goes on, and can be ended to make room.
func TestAFullDisk(t *testing.T) {
	f := folder(t)
	full := func(file string) func() {
		blocked := filepath.Join(f.Path, file+".new")
		if err := os.Mkdir(blocked, 0o700); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := os.Remove(blocked); err != nil {
				t.Fatal(err)
			}
		}
	}
	pids := filepath.Join(t.TempDir(), "pids")
	x, y := shell("x", "echo $$ >>"+pids+"; exec sleep 600"), shell("y", "exec sleep 600")
	apply(t, f, plan.Changed, x, y)
	before := until(t, f, "both run", func(s map[string]supervise.State) bool { return running(s["x"].Pid) && running(s["y"].Pid) })
	empty := full("status.json")
	if err := syscall.Kill(before["x"].Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, f, "it is started again", func(map[string]supervise.State) bool {
		raw, err := os.ReadFile(pids)
		return err == nil && len(strings.Fields(string(raw))) == 2
	})
	empty()
	after := until(t, f, "that is told", func(s map[string]supervise.State) bool { return s["x"].Restarts == 1 && running(s["x"].Pid) })
	if after["y"].Pid != before["y"].Pid {
		t.Errorf("the other one ended: %v, then %v", before, after)
	}
	empty = full("processes.json")
	if err := f.Stop(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if alive, err := f.Alive(); alive || err != nil || running(after["x"].Pid) {
		t.Errorf("after the end: %v, %v, %v", alive, err, running(after["x"].Pid))
	}
	empty()
	apply(t, f, plan.Changed, x)
	until(t, f, "one runs again", func(s map[string]supervise.State) bool { return len(s) == 1 && running(s["x"].Pid) })
}

func TestMissingProgramIsTold(t *testing.T) {
	f := folder(t)
	apply(t, f, plan.Changed, supervise.Process{Name: "x", Path: "/no/such/program"})
	until(t, f, "the reason is told", func(s map[string]supervise.State) bool {
		return strings.Contains(s["x"].LastExit, "no such file")
	})
}

func TestStubbornProcessIsKilled(t *testing.T) {
	f := folder(t)
	apply(t, f, plan.Changed, shell("x", "trap '' TERM; while :; do sleep 1; done"))
	s := until(t, f, "it runs", func(s map[string]supervise.State) bool { return running(s["x"].Pid) })
	apply(t, f, plan.Changed)
	until(t, f, "it is gone", func(map[string]supervise.State) bool { return !running(s["x"].Pid) })
}

func TestOneSupervisorForAFolder(t *testing.T) {
	f := folder(t)
	apply(t, f, plan.Changed, shell("x", "sleep 600"))
	out, err := exec.Command(f.Argv[0], playSupervisor, f.Path).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no other supervisor") {
		t.Errorf("a second one: %v: %s", err, out)
	}
}

// TestMoreThanOneMayAsk has many ask at once whether there is a supervisor. None must take another for it.
func TestMoreThanOneMayAsk(t *testing.T) {
	f := folder(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if alive, err := f.Alive(); alive || err != nil {
					t.Errorf("%v, %v", alive, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestSupervisorThatCanNotBeStarted(t *testing.T) {
	for argv, says := range map[string]string{"/no/such/supervisor": "no such file", "false": "ended"} {
		f := supervise.Folder{Path: t.TempDir(), Argv: []string{argv}}
		if _, err := f.Apply(t.Context(), nil, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", argv, err, says)
		}
	}
}

// supervisor starts one on a new folder, as a process of this test.
func supervisor(t *testing.T) (*exec.Cmd, supervise.Folder) {
	t.Helper()
	f := folder(t)
	cmd := exec.Command(f.Argv[0], playSupervisor, f.Path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := wait.Poll(ctx, wait.Func("it lives", func(context.Context) (bool, string, error) {
		alive, err := f.Alive()
		return alive, "", err
	}), 50*time.Millisecond, nil); err != nil {
		t.Fatal(err)
	}
	return cmd, f
}

// TestASupervisorThatOnlyHoldsItsLock is not taken for one that acts: one that is being killed does for a moment.
func TestASupervisorThatOnlyHoldsItsLock(t *testing.T) {
	cmd, f := supervisor(t)
	set := shell("x", "exec sleep 600")
	apply(t, f, plan.Changed, set)
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // one that is stopped would not stop its processes at the end
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var status syscall.WaitStatus // the signal has been sent, but all threads stop only later
	if _, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("it is not stopped: %v, %v", status, err)
	}
	var once sync.Once
	got, err := f.Apply(t.Context(), []supervise.Process{set}, func(plan.Update) {
		once.Do(func() { // it waits, so it has seen the lock
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
		})
	})
	if err != nil || got != plan.Changed {
		t.Fatalf("%q, %v", got, err)
	}
	until(t, f, "it runs", func(s map[string]supervise.State) bool { return running(s["x"].Pid) })
}

// TestNothingOutlivesTheSupervisor kills it. On Linux the kernel ends its processes.
func TestNothingOutlivesTheSupervisor(t *testing.T) {
	cmd, f := supervisor(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	apply(t, f, plan.Changed, shell("x", "exec sleep 600"))
	s := until(t, f, "it runs", func(s map[string]supervise.State) bool { return running(s["x"].Pid) })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	err := wait.Poll(ctx, wait.Func("its process is gone", func(context.Context) (bool, string, error) {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s["x"].Pid))
		return err != nil || strings.Contains(string(raw), ") Z "), "", nil
	}), 50*time.Millisecond, nil)
	if err != nil {
		t.Error(err)
	}
	if alive, err := f.Alive(); alive || err != nil {
		t.Errorf("%v, %v", alive, err)
	}
	// The next caller starts another, on the same set.
	apply(t, f, plan.Changed, shell("x", "exec sleep 600"))
	again := until(t, f, "it runs again", func(n map[string]supervise.State) bool { return running(n["x"].Pid) && n["x"].Pid != s["x"].Pid })
	if err := f.Stop(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if running(again["x"].Pid) {
		t.Error("it runs after the end")
	}
}
