package lab

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Quirks are what some machines lack. They are found out, never assumed.
type Quirks struct {
	CgroupV1      bool // no unified cgroup hierarchy: the kubelet must be told that this is fine
	NoSysResource bool // CAP_SYS_RESOURCE cannot be given away: nothing may ask for it
}

const capSysResource = 24

// FindQuirks looks at this machine.
func FindQuirks() (Quirks, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return Quirks{}, fmt.Errorf("look for this machine's quirks: %w", err)
	}
	_, err = os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return Quirks{CgroupV1: err != nil, NoSysResource: !bounded(string(status), capSysResource)}, nil
}

// bounded says whether a capability is in the bounding set of a /proc/PID/status.
func bounded(status string, capability uint) bool {
	lines := bufio.NewScanner(strings.NewReader(status))
	for lines.Scan() {
		value, ok := strings.CutPrefix(lines.Text(), "CapBnd:")
		if !ok {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		return err == nil && set&(1<<capability) != 0
	}
	return false
}

// KindPatches are what a kind configuration needs on this machine besides what its author wrote; they are empty on
// an ordinary one.
func (q Quirks) KindPatches() (kubeadm, containerd []string) {
	if q.CgroupV1 {
		kubeadm = append(kubeadm, "kind: KubeletConfiguration\nfailCgroupV1: false\n")
	}
	if q.NoSysResource {
		containerd = append(containerd, "[plugins.\"io.containerd.grpc.v1.cri\"]\n  restrict_oom_score_adj = true\n")
	}
	return kubeadm, containerd
}
