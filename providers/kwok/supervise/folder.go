package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// Names of the files in a supervised folder.
const (
	wantedFile = "processes.json"
	statusFile = "status.json"
	lockFile   = "supervisor.lock"
	pipeFile   = "supervisor.pipe"
	logFile    = "supervisor.log"
	logDir     = "logs"
)

// Process is one that is to run.
type Process struct {
	Name string            `json:"name"` // unique in its folder, usable as a file name
	Path string            `json:"path"` // of the program
	Args []string          `json:"args,omitempty"`
	Env  map[string]string `json:"env,omitempty"` // beside the few variables that are passed through
	Dir  string            `json:"dir,omitempty"` // working folder
}

// wanted is what a folder's supervisor has to bring about.
type wanted struct {
	Seq       int64     `json:"seq"` // grows with each change
	Stop      bool      `json:"stop,omitempty"`
	Processes []Process `json:"processes"`
}

// Status is what a supervisor last saw.
type Status struct {
	Seq       int64            `json:"seq"` // of the wanted set that it acted on last
	Processes map[string]State `json:"processes"`
}

// State is that of one process.
type State struct {
	Pid      int       `json:"pid,omitempty"` // 0 while it does not run
	Started  time.Time `json:"started"`       // the last time
	Restarts int       `json:"restarts,omitempty"`
	LastExit string    `json:"lastExit,omitempty"` // how it ended the last time it did by itself
}

// Folder is a supervised folder, seen by those who want processes in it. Changes to one folder must
// not be made by two callers at once.
type Folder struct {
	Path string
	// Argv is the command that runs [Run] on the folder whose path is appended to it.
	Argv []string
}

// Alive says whether the folder has a supervisor.
func (f Folder) Alive() (bool, error) {
	lock := flock.New(filepath.Join(f.Path, lockFile))
	free, err := lock.TryRLock() // shared, so that two who ask do not take each other for a supervisor
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("supervisor's lock: %w", err)
	}
	if free {
		return false, lock.Unlock()
	}
	return true, nil
}

// Log is the path of a process's output.
func (f Folder) Log(process string) string { return filepath.Join(f.Path, logDir, process+".log") }

// Status is what the supervisor last wrote, or an empty one.
func (f Folder) Status() (Status, error) {
	var s Status
	err := readJSON(filepath.Join(f.Path, statusFile), &s)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return s, err
}

// Apply makes the set of processes be exactly set, starting the supervisor if there is none, and
// returns once the supervisor has acted on it: every wanted process was started. The outcome is
// Unchanged when a living supervisor was there and had the very same set.
func (f Folder) Apply(ctx context.Context, set []Process, p plan.Progress) (plan.Outcome, error) {
	set = slices.SortedFunc(slices.Values(set), func(a, b Process) int { return strings.Compare(a.Name, b.Name) })
	now, err := f.wanted()
	if err == nil && now.Stop { // by a caller that was killed before the end: that comes first
		err = f.Stop(ctx, p)
		now.Processes = nil
	}
	if err != nil {
		return "", err
	}
	alive, err := f.Alive()
	if err != nil {
		return "", err
	}
	same := reflect.DeepEqual(now.Processes, set)
	if err := ctx.Err(); err != nil {
		return "", err
	}
	last, _ := f.Status() // is all that is left of the number where the set was taken away; the supervisor writes it anew
	// A new number even for the same set: that a supervisor holds the lock proves nothing, one that was
	// killed holds it for a moment more. That it has seen this number does.
	now = wanted{Seq: max(now.Seq, last.Seq) + 1, Processes: set}
	if err := writeJSON(filepath.Join(f.Path, wantedFile), now); err != nil {
		return "", err
	}
	if alive {
		alive, err = f.heard(ctx, now.Seq, p)
	}
	if err == nil && !alive {
		err = f.started(ctx, now.Seq, p)
	}
	if err != nil {
		return "", err
	}
	if same && alive {
		return plan.Unchanged, nil
	}
	return plan.Changed, nil
}

// heard pokes the supervisor and waits until it has acted on a wanted set, or is gone.
func (f Folder) heard(ctx context.Context, seq int64, p plan.Progress) (alive bool, err error) {
	if err := f.poke(); err != nil {
		return false, err
	}
	acted := wait.Func("the supervisor acts on the cluster's processes", func(context.Context) (bool, string, error) {
		status, err := f.Status()
		if alive = err == nil && status.Seq >= seq; alive {
			return true, "", nil
		}
		held, err := f.Alive()
		return !held, "", err
	})
	return alive, wait.Poll(ctx, acted, 20*time.Millisecond, p)
}

// Stop ends all processes and their supervisor at once, and returns when they are gone.
func (f Folder) Stop(ctx context.Context, p plan.Progress) error {
	alive, err := f.Alive()
	if err != nil || !alive {
		return err
	}
	now, err := f.wanted()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(f.Path, wantedFile), wanted{Seq: now.Seq + 1, Stop: true}); err != nil {
		// On a full disk nothing can be written, which this may be to make room for. Without the file nothing is wanted either.
		if removed := os.Remove(filepath.Join(f.Path, wantedFile)); removed != nil {
			return errors.Join(err, removed)
		}
	}
	ended := wait.Func("the cluster's processes end", func(context.Context) (bool, string, error) {
		alive, err := f.Alive()
		if err == nil && alive {
			err = f.poke() // again each time: a supervisor that just starts has no pipe yet
		}
		return !alive, "", err
	})
	return wait.Poll(ctx, ended, 100*time.Millisecond, p)
}

func (f Folder) wanted() (wanted, error) {
	var w wanted
	err := readJSON(filepath.Join(f.Path, wantedFile), &w)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return w, err
}

// poke makes the supervisor look at the wanted set. That nobody listens is no error: a supervisor
// looks when it starts, and one that is gone is seen by its lock.
func (f Folder) poke() error {
	pipe, err := os.OpenFile(filepath.Join(f.Path, pipeFile), os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENXIO) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = pipe.Write([]byte{'\n'})
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EPIPE) { // full: it will look anyway; or just gone
		err = nil
	}
	return errors.Join(err, pipe.Close())
}

// start starts the supervisor, detached: it outlives its caller and takes no signal from its terminal. The channel is closed when it
// has ended.
func (f Folder) start() (ended <-chan struct{}, err error) {
	log, err := os.OpenFile(filepath.Join(f.Path, logFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	argv := append(slices.Clone(f.Argv), f.Path)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = f.Path
	cmd.Env = environment(nil)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fault.Wrap(err, fault.Failed, "start the supervisor of the cluster's processes").
			WithHint("check that %s can be executed", argv[0])
	}
	gone := make(chan struct{})
	go func() { // reaps it if it ends before this process does, so that no zombie is left
		defer close(gone)
		_ = cmd.Wait()
	}()
	return gone, nil
}

// started starts the supervisor and waits until it has acted on a wanted set. One that is slow is given the time of the context.
func (f Folder) started(ctx context.Context, seq int64, p plan.Progress) error {
	ended, err := f.start()
	if err != nil {
		return err
	}
	acted := wait.Func("the supervisor starts the cluster's processes", func(context.Context) (bool, string, error) {
		status, err := f.Status()
		if err != nil {
			return false, err.Error(), nil
		}
		if status.Seq >= seq {
			return true, "", nil
		}
		select {
		case <-ended:
			if alive, err := f.Alive(); err != nil || !alive {
				return false, "", errors.Join(err, f.neverCame())
			}
		default:
		}
		return false, "", nil
	})
	return wait.Poll(ctx, acted, 20*time.Millisecond, p)
}

func (f Folder) neverCame() error {
	log, _ := Tail(filepath.Join(f.Path, logFile), 400)
	return fault.New(fault.Failed, "the supervisor of the cluster's processes ended: %s", log).
		WithHint("see %s", filepath.Join(f.Path, logFile))
}

// environment is what processes get: enough to find programs, certificates and proxies, and none of
// the caller's secrets.
func environment(extra map[string]string) []string {
	var env []string
	for _, name := range []string{
		"PATH", "HOME", "USER", "TMPDIR", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		env = append(env, name+"="+extra[name])
	}
	return env
}

// Tail gives at most the last n bytes of a file, from the start of a line.
func Tail(path string, n int) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if len(raw) > n {
		raw = raw[len(raw)-n:]
		if _, rest, ok := strings.Cut(string(raw), "\n"); ok && rest != "" {
			raw = []byte(rest)
		}
	}
	return strings.TrimSpace(string(raw)), nil
}

func readJSON(path string, to any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeJSON replaces a file as a whole.
func writeJSON(path string, value any) error {
	raw, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	temp := path + ".new"
	if err := os.WriteFile(temp, append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}
