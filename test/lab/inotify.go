package lab

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

const (
	inotifyFile = "/proc/sys/fs/inotify/max_user_instances"
	// enoughInotify is for the two kind clusters of each of two migrations, side by side, with simulated clusters beside them:
	// a node holds 30 and more, and beyond the limit its kube-proxy does nothing, so that no pod reaches its API server.
	enoughInotify = 1024
)

// raiseInotify raises the kernel's limit of inotify instances for each user where it is too low for the tests.
// That takes root.
func raiseInotify(p plan.Progress) error {
	raw, err := os.ReadFile(inotifyFile)
	if err != nil {
		return nil //nolint:nilerr // no such limit here
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || limit >= enoughInotify {
		return err
	}
	if err := os.WriteFile(inotifyFile, []byte(strconv.Itoa(enoughInotify)), 0o644); err != nil {
		p.Warn(fmt.Sprintf("the kernel allows %d inotify instances, too few for all tests: sysctl fs.inotify.max_user_instances=%d", limit, enoughInotify))
		return nil
	}
	p.Note(fmt.Sprintf("raised fs.inotify.max_user_instances from %d to %d", limit, enoughInotify))
	return nil
}
