package traffic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

const (
	commandTimeout = 10 * time.Minute
	commandGrace   = 5 * time.Second // from being told to end, until it is ended
	notedLines     = 20              // of what a command writes, the last ones
	toldLines      = 5               // of what it complains of, in the fault
)

// findCommand tells whether there is the program that is to be run.
func (s Switch) findCommand() error {
	program := s.Traffic.Exec[0]
	if strings.ContainsRune(program, filepath.Separator) && !filepath.IsAbs(program) {
		program = filepath.Join(s.Dir, program)
	}
	if _, err := exec.LookPath(program); err != nil {
		return fault.Wrap(errors.Unwrap(err), fault.Usage, "cannot be run").On("command %s", s.Traffic.Exec[0]).
			WithHint("spec.migration.traffic.exec is a list: the program, then its arguments, without a shell; it runs in the folder of the document")
	}
	return nil
}

// run runs the command, and tells what it wrote last.
func (s Switch) run(ctx context.Context, to Side, from string, addresses []string, p plan.Progress) error {
	file, err := newAccess(to)
	if err != nil {
		return err
	}
	defer file.remove()
	timeout := s.Timeout
	if timeout == 0 {
		timeout = commandTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out, complaints := &tail{}, &tail{}
	cmd := exec.CommandContext(limited, s.Traffic.Exec[0], s.Traffic.Exec[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, out, complaints
	cmd.Env = append(os.Environ(),
		"REKINDLE_MIGRATION="+s.Migration, "REKINDLE_FROM="+from, "REKINDLE_TO="+to.Name,
		"REKINDLE_TO_CONTEXT="+file.context, "REKINDLE_TO_KUBECONFIG="+file.path,
		"REKINDLE_TO_ADDRESSES="+strings.Join(addresses, ","))
	p.Waiting("the command " + s.Traffic.Exec[0] + " to lead requests to " + to.Name)
	err = runGroup(cmd)
	for _, line := range out.last(notedLines, file.secrets) {
		p.Note(line)
	}
	said := complaints.last(toldLines, file.secrets)
	switch {
	case err == nil:
		for _, line := range said {
			p.Note(line)
		}
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return fault.New(fault.Failed, "did not end within %s%s", timeout, told(said)).On("command %s", s.Traffic.Exec[0]).
			WithHint("it must end once requests are led to the other cluster; it may be run again")
	}
	return s.commandFault(err, said)
}

// commandFault says how a command ended.
func (s Switch) commandFault(err error, said []string) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fault.Wrap(err, fault.Failed, "cannot be run").On("command %s", s.Traffic.Exec[0])
	}
	return fault.New(fault.Failed, "ended with %s%s", exit.ProcessState, told(said)).On("command %s", s.Traffic.Exec[0]).
		WithHint("run it by hand, with the environment that docs/traffic.md names")
}

// told is what a command complained of, as the end of a fault.
func told(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return ": " + strings.Join(lines, "\n")
}

// runGroup runs a command as a process group of its own. When the command's context is done the group is told to end, and is
// ended after a while. What a command that succeeded left running on purpose stays.
func runGroup(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cancelled := false
	cmd.Cancel = func() error {
		cancelled = true
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	cmd.WaitDelay = commandGrace
	err := cmd.Run()
	if cancelled {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // none left is fine
	}
	if errors.Is(err, exec.ErrWaitDelay) && !cancelled {
		return nil // it succeeded; something that it started still has its output open
	}
	return err
}

// access is a kubeconfig of this run alone.
type access struct {
	path, context string
	secrets       *strings.Replacer // takes what it holds out of a text
	dir           string
}

// newAccess writes the kubeconfig of a side where nobody else can read it.
func newAccess(s Side) (*access, error) {
	if s.Kubeconfig == nil {
		return nil, fault.New(fault.Failed, "has no kubeconfig that a command could be given").On("cluster %s", s.Name)
	}
	copied := s.Kubeconfig.DeepCopy()
	if copied.CurrentContext == "" {
		for name := range copied.Contexts {
			copied.CurrentContext = name
		}
	}
	raw, err := clientcmd.Write(*copied)
	if err != nil {
		return nil, fmt.Errorf("encode the kubeconfig of %s: %w", s.Name, err)
	}
	dir, err := os.MkdirTemp("", "rekindle-traffic-") // for its owner only
	if err != nil {
		return nil, fmt.Errorf("make a folder for the kubeconfig of %s: %w", s.Name, err)
	}
	a := &access{path: filepath.Join(dir, "kubeconfig"), context: copied.CurrentContext, secrets: secretsOf(copied), dir: dir}
	if err := os.WriteFile(a.path, raw, 0o600); err != nil {
		a.remove()
		return nil, fmt.Errorf("write the kubeconfig of %s: %w", s.Name, err)
	}
	return a, nil
}

func (a *access) remove() { _ = os.RemoveAll(a.dir) } // in the folder for what is to go anyway
