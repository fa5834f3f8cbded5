//go:build !linux

package supervise

import "syscall"

// dieWithParent has no means here: a supervisor that is killed leaves its processes behind.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
