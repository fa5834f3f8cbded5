package main

import (
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// attend runs a command that has a process group of its own. If its input is a terminal that is ours to use, the command
// gets it for that time: from any other group the first read would stop it, with nobody there to continue it.
func (a *app) attend(cmd *exec.Cmd) error {
	fd, ok := inFront(a.stdin)
	if !ok {
		return cmd.Run()
	}
	cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = true, fd
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGCHLD)
	err := cmd.Start()
	signal.Ignore(syscall.SIGTTOU) // behind the command we still tell, and want the terminal back; not before, as it would inherit this
	defer signal.Reset(syscall.SIGTTOU)
	goneOn := make(chan struct{})
	go func() {
		defer close(goneOn)
		for range changes {
			if cmd.Process != nil { // whoever types Ctrl-Z has no shell in front that could end the pause
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGCONT)
			}
		}
	}()
	if err == nil {
		err = cmd.Wait()
	}
	signal.Stop(changes)
	close(changes)
	<-goneOn
	_ = unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, unix.Getpgrp()) // it fails where the terminal is gone
	return err
}

// inFront says whether an input is the terminal that this process is in the foreground of.
func inFront(in io.Reader) (fd int, ok bool) {
	f, ok := in.(*os.File)
	if !ok {
		return 0, false
	}
	fd = int(f.Fd())
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return fd, err == nil && group == unix.Getpgrp()
}

// endedBy says whether a command was ended by this signal.
func endedBy(exit *exec.ExitError, signal syscall.Signal) bool {
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == signal
}
