package labtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// nodeWords is what a node says of itself where nothing that runs on it reaches anything: its network's containers, with the ends of
// their logs, and what else has failed.
const nodeWords = `crictl ps -a | grep -v ' Running ' | head -20
for name in kube-proxy coredns kube-apiserver; do
	for id in $(crictl ps -a --quiet --name "$name" | head -2); do echo "$name:"; crictl logs --tail 4 "$id" 2>&1 | cut -c1-400; done
done
journalctl -u kubelet --no-pager -n 5 | cut -c1-400
df -h /var | tail -1`

// Nodes is what this machine and the nodes of kind on it say of themselves, for a test that cannot go on: without it a failure that
// has its cause below Kubernetes is never understood.
func Nodes() string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var all strings.Builder
	instances, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	taken := 0
	for _, fd := range instances {
		if to, err := os.Readlink(fd); err == nil && to == "anon_inode:inotify" {
			taken++
		}
	}
	limit, _ := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(&all, "this machine: %d inotify instances of %s, load %s\n", taken, strings.TrimSpace(string(limit)), strings.TrimSpace(string(load)))
	out, err := exec.CommandContext(ctx, "docker", "ps", "--all", "--filter", "label=io.x-k8s.kind.cluster", "--format", "{{.Names}}").CombinedOutput()
	if err != nil {
		fmt.Fprintf(&all, "docker: %v: %s\n", err, out)
		return all.String()
	}
	for _, node := range strings.Fields(string(out)) {
		out, err := exec.CommandContext(ctx, "docker", "exec", node, "sh", "-c", nodeWords).CombinedOutput()
		fmt.Fprintf(&all, "node %s:\n%s", node, out)
		if err != nil {
			fmt.Fprintf(&all, "%v\n", err)
		}
	}
	return all.String()
}
