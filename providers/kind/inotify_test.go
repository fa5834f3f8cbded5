package kind

import (
	"strings"
	"testing"
)

// TestTooFewInotifyInstances: four control planes do not fit into the default of most kernels, three do.
func TestTooFewInotifyInstances(t *testing.T) {
	if text := tooFewInotify(128, strings.Fields("control-plane control-plane control-plane external-load-balancer")); text != "" {
		t.Error(text)
	}
	text := tooFewInotify(128, strings.Fields("control-plane control-plane control-plane control-plane worker"))
	if !strings.Contains(text, "is 128, and the 5 nodes") || !strings.Contains(text, "sysctl fs.inotify.max_user_instances=512") {
		t.Error(text)
	}
}
