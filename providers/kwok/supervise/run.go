package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/rekindle-dev/rekindle/internal/wait"
)

// How a supervisor treats its processes.
const (
	firstPause = 200 * time.Millisecond // before the first restart; doubled each time
	maxPause   = 10 * time.Second
	lateAgain  = time.Second      // before a status that could not be written is written again
	settled    = 30 * time.Second // a run of this length makes the pause short again
	grace      = 5 * time.Second  // between asking a process to end and killing it
	maxLog     = 16 << 20         // bytes of a log; at the next start it is put aside
)

// Run supervises a folder until the wanted set says stop, or until ctx is done: then it asks the
// processes to end and waits for them. A folder that has a supervisor already is an error.
func Run(ctx context.Context, path string) error {
	lock := flock.New(filepath.Join(path, lockFile))
	if err := take(ctx, lock); err != nil {
		return err
	}
	defer lock.Unlock() //nolint:errcheck // ends with the process anyway
	pipe, err := openPipe(filepath.Join(path, pipeFile))
	if err != nil {
		return err
	}
	s := &supervisor{
		folder: Folder{Path: path}, children: map[string]*child{},
		pokes: make(chan struct{}, 1), exits: make(chan exit),
	}
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		s.listen(pipe)
	}()
	err = s.loop(ctx)
	closeErr := pipe.Close()
	<-listening
	return errors.Join(err, closeErr)
}

// take takes the folder's lock. It tries more than once, because whoever only asks whether there is a
// supervisor holds the lock for a moment.
func take(ctx context.Context, lock *flock.Flock) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return wait.Poll(ctx, wait.Func("the folder has no other supervisor", func(context.Context) (bool, string, error) {
		free, err := lock.TryLock()
		return free, "", err
	}), 50*time.Millisecond, nil)
}

// openPipe makes and opens the pipe for both ways, so that it never ends for lack of writers.
func openPipe(path string) (*os.File, error) {
	if err := syscall.Mkfifo(path, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("pipe %s: %w", path, err)
	}
	return os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
}

// supervisor is the state of one Run. Only its loop touches it.
type supervisor struct {
	folder   Folder
	seq      int64
	told     int64 // seq of the status that was written last
	late     bool  // the status could not be written
	children map[string]*child
	pokes    chan struct{}
	exits    chan exit
}

// child is one process through all its restarts.
type child struct {
	want    Process
	gone    bool      // not wanted any longer
	cmd     *exec.Cmd // nil while it does not run
	state   State
	quick   int       // runs in a row that were too short
	nextTry time.Time // when it is to be started, while it does not run
	killAt  time.Time // when it is to be killed, while it has been asked to end
}

type exit struct {
	name string
	err  error
}

// listen turns what comes through the pipe into at most one waiting poke.
func (s *supervisor) listen(pipe *os.File) {
	buf := make([]byte, 64)
	for {
		if _, err := pipe.Read(buf); err != nil {
			return
		}
		select {
		case s.pokes <- struct{}{}:
		default:
		}
	}
}

// loop runs on one thread for as long as the supervisor lives: on Linux a process that is to die with
// its parent dies with the thread that started it.
func (s *supervisor) loop(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer s.killAll()
	for {
		stop, err := s.adopt()
		if err != nil || stop {
			return err
		}
		s.act(time.Now())
		if err := s.report(); err != nil {
			return err
		}
		timer := time.NewTimer(s.untilNext(time.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			s.endAll()
			return nil
		case <-s.pokes:
		case e := <-s.exits:
			s.ended(e)
		case <-timer.C:
		}
		timer.Stop()
	}
}

// adopt reads the wanted set.
func (s *supervisor) adopt() (stop bool, err error) {
	w, err := s.folder.wanted()
	if err != nil || w.Stop || w.Seq == 0 && s.seq > 0 { // 0: it was taken away
		return true, err
	}
	if w.Seq == s.seq {
		return false, nil
	}
	s.seq = w.Seq
	for _, c := range s.children {
		c.gone = true
	}
	for _, p := range w.Processes {
		c := s.children[p.Name]
		if c == nil {
			s.children[p.Name] = &child{want: p}
			continue
		}
		c.gone = false
		if !reflect.DeepEqual(c.want, p) {
			c.want, c.quick, c.nextTry = p, 0, time.Time{}
			c.askToEnd()
		}
	}
	for name, c := range s.children {
		if c.gone && c.cmd == nil {
			delete(s.children, name)
		} else if c.gone {
			c.askToEnd()
		}
	}
	return false, nil
}

// act starts and kills what is due.
func (s *supervisor) act(now time.Time) {
	for name, c := range s.children {
		switch {
		case c.cmd == nil && !now.Before(c.nextTry):
			if err := s.start(c); err != nil {
				c.state.LastExit = err.Error()
				c.again(now)
			}
		case c.cmd != nil && !c.killAt.IsZero() && !now.Before(c.killAt):
			_ = s.children[name].cmd.Process.Kill()
			c.killAt = now.Add(grace)
		}
	}
}

func (s *supervisor) start(c *child) error {
	log, err := openLog(s.folder.Log(c.want.Name))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.want.Path, c.want.Args...)
	cmd.Dir, cmd.Env = c.want.Dir, environment(c.want.Env)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return err
	}
	c.cmd, c.killAt = cmd, time.Time{}
	c.state.Pid, c.state.Started = cmd.Process.Pid, time.Now()
	go func(name string) { s.exits <- exit{name, cmd.Wait()} }(c.want.Name)
	return nil
}

// ended takes note of a process that has.
func (s *supervisor) ended(e exit) {
	c := s.children[e.name]
	asked := !c.killAt.IsZero()
	c.cmd, c.killAt, c.state.Pid = nil, time.Time{}, 0
	switch {
	case c.gone:
		delete(s.children, e.name)
	case asked: // it has changed: start the new one now
		c.nextTry = time.Time{}
	default:
		c.state.LastExit = "it ended by itself"
		if e.err != nil {
			c.state.LastExit = e.err.Error()
		}
		c.again(time.Now())
	}
}

// again plans the next start.
func (c *child) again(now time.Time) {
	if now.Sub(c.state.Started) > settled {
		c.quick = 0
	}
	c.quick++
	c.state.Restarts++
	c.nextTry = now.Add(wait.Backoff(c.quick, firstPause, maxPause))
}

func (c *child) askToEnd() {
	if c.cmd != nil && c.killAt.IsZero() {
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		c.killAt = time.Now().Add(grace)
	}
}

// untilNext is how long nothing is due.
func (s *supervisor) untilNext(now time.Time) time.Duration {
	next := time.Hour
	if s.late {
		next = lateAgain
	}
	for _, c := range s.children {
		if c.cmd == nil {
			next = min(next, c.nextTry.Sub(now))
		} else if !c.killAt.IsZero() {
			next = min(next, c.killAt.Sub(now))
		}
	}
	return max(next, time.Millisecond)
}

// endAll asks all processes to end and waits until they have, or until their grace is over.
func (s *supervisor) endAll() {
	timeout := time.NewTimer(grace)
	defer timeout.Stop()
	for _, c := range s.children {
		c.gone = true
		c.askToEnd()
	}
	for s.running() > 0 {
		select {
		case e := <-s.exits:
			s.ended(e)
		case <-timeout.C:
			return
		}
	}
}

// killAll ends whatever runs, at once.
func (s *supervisor) killAll() {
	for _, c := range s.children {
		c.gone = true
		if c.cmd != nil {
			_ = c.cmd.Process.Kill()
		}
	}
	for s.running() > 0 {
		s.ended(<-s.exits)
	}
}

func (s *supervisor) running() int {
	n := 0
	for _, c := range s.children {
		if c.cmd != nil {
			n++
		}
	}
	return n
}

// report writes the status. Where that fails, as on a full disk, what runs goes on, and it is written later. Only a new set,
// whose status somebody waits for, is not brought about in silence.
func (s *supervisor) report() error {
	status := Status{Seq: s.seq, Processes: map[string]State{}}
	for name, c := range s.children {
		if !c.gone {
			status.Processes[name] = c.state
		}
	}
	err := writeJSON(filepath.Join(s.folder.Path, statusFile), status)
	if s.late = err != nil; s.late && s.told != s.seq {
		return err
	}
	s.told = s.seq
	return nil
}

// openLog opens a log to append to, putting one that has grown too long aside.
func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}
