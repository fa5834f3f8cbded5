package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// packages are Debian's, for a machine without Docker.
var packages = []string{"docker.io", "debootstrap", "iptables", "iproute2", "ca-certificates"}

// ensureDocker uses a running Docker, or installs and starts one where we are root and there is none.
func (l *Lab) ensureDocker(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	if err := l.ensurePackages(ctx, p); err != nil {
		return "", err
	}
	raiseInotify(p)
	if runtime, err := run(ctx, "docker", "info", "--format", "{{.DefaultRuntime}}"); err == nil {
		return plan.Unchanged, suits(strings.TrimSpace(runtime))
	}
	if os.Geteuid() != 0 {
		return "", errors.New("docker does not answer, and only root can start it: start Docker and try again")
	}
	p.Note("starting dockerd")
	if err := l.startDocker(ctx); err != nil {
		return "", err
	}
	condition := wait.Func("docker answers", func(ctx context.Context) (bool, string, error) {
		_, err := run(ctx, "docker", "info")
		if err != nil {
			return false, "see " + l.path("dockerd.log"), nil
		}
		return true, "", nil
	})
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return plan.Changed, wait.Poll(ctx, condition, time.Second, p)
}

// suits says whether a Docker that runs already can run nodes here.
func suits(defaultRuntime string) error {
	quirks, err := FindQuirks()
	if err != nil {
		return err
	}
	if quirks.NoSysResource && defaultRuntime != runtimeName {
		return fault.New(fault.Failed, "this machine may not give CAP_SYS_RESOURCE away, and the running Docker's default runtime %s tries to", defaultRuntime).
			WithHint("stop that dockerd: the lab starts one that suits")
	}
	return nil
}

// ensurePackages installs what is missing.
func (l *Lab) ensurePackages(ctx context.Context, p plan.Progress) error {
	missing := ""
	for _, command := range []string{"dockerd", "debootstrap", "iptables", "ip"} {
		if _, err := exec.LookPath(command); err != nil {
			missing = command
		}
	}
	if missing == "" {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("%s is not there: install %s", missing, strings.Join(packages, " "))
	}
	p.Waiting("apt-get install " + strings.Join(packages, " "))
	if _, err := run(ctx, "apt-get", "update", "-qq"); err != nil {
		return err
	}
	_, err := run(ctx, "env", append([]string{"DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends"}, packages...)...)
	return err
}

// startDocker starts a dockerd that outlives us, and notes its process for stopDocker.
func (l *Lab) startDocker(ctx context.Context) error {
	quirks, err := FindQuirks()
	if err != nil {
		return err
	}
	args := []string{"--pidfile", l.path("dockerd.pid")}
	if quirks.NoSysResource {
		runc := l.path("runc")
		if err := l.buildProgram(ctx, "./test/lab/cmd/runc", runc); err != nil {
			return err
		}
		args = append(args, "--add-runtime", runtimeName+"="+runc, "--default-runtime", runtimeName)
	}
	log, err := os.OpenFile(l.path("dockerd.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command("dockerd", args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start dockerd: %w", err)
	}
	return cmd.Process.Release()
}

// stopDocker ends the dockerd that we started, and no other.
func (l *Lab) stopDocker(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	raw, err := os.ReadFile(l.path("dockerd.pid"))
	if errors.Is(err, os.ErrNotExist) {
		return plan.Unchanged, nil
	}
	if err != nil {
		return "", err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return "", err
	}
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil || strings.TrimSpace(string(name)) != "dockerd" {
		return plan.Unchanged, os.Remove(l.path("dockerd.pid"))
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return "", err
	}
	condition := wait.Func("dockerd has ended", func(context.Context) (bool, string, error) {
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH), "", nil
	})
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return plan.Changed, wait.Poll(ctx, condition, time.Second, p)
}

// buildProgram builds a static program of this project.
func (l *Lab) buildProgram(ctx context.Context, pkg, out string) error {
	tmp := out + ".tmp"
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", tmp, pkg)
	cmd.Dir = l.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, tail(string(text), 15))
	}
	return os.Rename(tmp, out)
}
