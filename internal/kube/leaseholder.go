package kube

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"k8s.io/apimachinery/pkg/util/rand"
)

// holder is a run as the lease names it: host/pid/id, for people, and behind that what tells on the same machine,
// and on no other, whether it still is. A system without /proc leaves that out.
type holder struct {
	host, pid, id string

	boot      string // of the kernel: two machines may have one name
	namespace string // of process ids: a number is another process in each
	start     string // of the process: numbers are used again
}

// thisRun names this process.
func thisRun() (holder, error) {
	host, err := os.Hostname()
	if err != nil {
		return holder{}, fmt.Errorf("name of this machine: %w", err)
	}
	h := holder{host: host, pid: strconv.Itoa(os.Getpid()), id: rand.String(5)}
	boot, noBoot := os.ReadFile("/proc/sys/kernel/random/boot_id")
	namespace, noNamespace := os.Readlink("/proc/self/ns/pid")
	start, noStart := startOf(h.pid)
	// A /proc of another namespace than this process's knows it under another number, and other processes under ours.
	self, noSelf := os.Readlink("/proc/self")
	if errors.Join(noBoot, noNamespace, noStart, noSelf) == nil && self == h.pid {
		h.boot, h.namespace, h.start = strings.TrimSpace(string(boot)), namespace, start
	}
	return h, nil
}

// String is what the lease holds.
func (h holder) String() string {
	parts := []string{h.host, h.pid, h.id}
	if h.boot != "" {
		parts = append(parts, h.boot, h.namespace, h.start)
	}
	return strings.Join(parts, "/")
}

// parseHolder reads what a lease holds. Of one that we do not understand nothing is known.
func parseHolder(s string) holder {
	parts := strings.Split(s, "/")
	if len(parts) != 6 {
		return holder{}
	}
	return holder{host: parts[0], pid: parts[1], id: parts[2], boot: parts[3], namespace: parts[4], start: parts[5]}
}

// nameOf is the part of a holder that people are told.
func nameOf(s string) string {
	parts := strings.Split(s, "/")
	return strings.Join(parts[:min(3, len(parts))], "/")
}

// goneFor says whether a run surely is no more, as far as another one, me, can know: it was of the same boot of
// the same machine and saw the same process ids, and nothing has its number, or something that began at another time.
func (h holder) goneFor(me holder) bool {
	if h.boot == "" || h.host != me.host || h.boot != me.boot || h.namespace != me.namespace {
		return false
	}
	pid, err := strconv.Atoi(h.pid)
	if err != nil || pid <= 0 {
		return false
	}
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) { // /proc may hide the processes of other users
		return true
	}
	start, err := startOf(h.pid)
	return err == nil && start != h.start
}

// startOf is the time at which a process began, as the kernel counts it.
func startOf(pid string) (string, error) {
	raw, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(raw[max(0, strings.LastIndex(string(raw), ")")):]), " ") // names may have spaces
	const start = 22 - 3                                                                      // the 22nd of its fields, the third being the first here
	fields := strings.Fields(rest)
	if len(fields) <= start {
		return "", fmt.Errorf("/proc/%s/stat has %d fields", pid, len(fields))
	}
	return fields[start], nil
}
