package kind

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// inotifyLimit is the file with how many inotify instances the kernel gives to a user. The nodes of all clusters share it, as
// their processes are root's.
const inotifyLimit = "/proc/sys/fs/inotify/max_user_instances"

// What nodes hold of them: 32 and 16 when they idle, counted on Kubernetes 1.37, and some for what runs on them.
const (
	perControlPlane = 36
	perWorker       = 20
)

// warnOfInotify tells that the clusters of this machine will have more nodes than the kernel has inotify instances for. It is no
// fault: a user cannot see how many are taken.
func (p *Provider) warnOfInotify(ctx context.Context, cfg *v1alpha4.Cluster, progress plan.Progress) {
	raw, err := os.ReadFile(inotifyLimit)
	if err != nil || p.runtime.remote(ctx) {
		return
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return
	}
	nodes, err := p.runtime.list(ctx, "")
	if err != nil {
		return // what comes next tells it
	}
	roles := make([]string, 0, len(nodes)+len(cfg.Nodes))
	for _, n := range nodes {
		if n.Running {
			roles = append(roles, n.Role)
		}
	}
	for _, n := range cfg.Nodes {
		roles = append(roles, string(n.Role))
	}
	if text := tooFewInotify(limit, roles); text != "" {
		progress.Warn(text)
	}
}

// tooFewInotify says that a limit is too low for nodes of these roles; it is empty if it is not.
func tooFewInotify(limit int, roles []string) string {
	need := 0
	for _, role := range roles {
		switch role {
		case controlRole:
			need += perControlPlane
		case workerRole:
			need += perWorker
		}
	}
	if need <= limit {
		return ""
	}
	return fmt.Sprintf("fs.inotify.max_user_instances is %d, and the %s of kind on this machine need about %d: beyond it kube-proxy stops, "+
		"and pods do not reach the API server or fail with \"too many open files\"; raise it: sudo sysctl fs.inotify.max_user_instances=%d", limit, plan.Count(len(roles), "node"), need, max(512, 2*need))
}
