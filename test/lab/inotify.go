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

// TooFewInotify says that the kernel has too few inotify instances for tests on real nodes side by side; empty when it has enough.
func TooFewInotify() string {
	limit, known := inotifyLimit()
	if !known || limit >= enoughInotify {
		return ""
	}
	return fmt.Sprintf("the kernel allows %d inotify instances, too few for tests on real nodes side by side: sysctl fs.inotify.max_user_instances=%d", limit, enoughInotify)
}

// inotifyLimit is how many instances the kernel gives to a user; known is false where there is no such limit.
func inotifyLimit() (limit int, known bool) {
	raw, err := os.ReadFile(inotifyFile)
	if err != nil {
		return 0, false
	}
	limit, err = strconv.Atoi(strings.TrimSpace(string(raw)))
	return limit, err == nil
}

// raiseInotify raises the kernel's limit of inotify instances for each user where it is too low for the tests.
// That takes root.
func raiseInotify(p plan.Progress) {
	limit, known := inotifyLimit()
	if !known || limit >= enoughInotify {
		return
	}
	if err := os.WriteFile(inotifyFile, []byte(strconv.Itoa(enoughInotify)), 0o644); err != nil {
		p.Warn(TooFewInotify()) // tests run one after another then
		return
	}
	p.Note(fmt.Sprintf("raised fs.inotify.max_user_instances from %d to %d", limit, enoughInotify))
}
