package kind

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWhatIsFrozenIsThawed(t *testing.T) {
	root := t.TempDir()
	for cgroup, state := range map[string]string{"node": "THAWED\n", "node/kubelet/pod": "FROZEN\n", "node/kubelet/other": "FREEZING\n", "neighbour": "FROZEN\n"} {
		folder := filepath.Join(root, cgroup)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "freezer.state"), []byte(state), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !thawBelow(filepath.Join(root, "node")) || thawBelow(filepath.Join(root, "node")) {
		t.Error("what was frozen is told not once")
	}
	if thawBelow(filepath.Join(root, "none")) {
		t.Error("what is not there was frozen")
	}
	for cgroup, want := range map[string]string{"node/kubelet/pod": "THAWED", "node/kubelet/other": "THAWED", "neighbour": "FROZEN\n"} {
		if state, err := os.ReadFile(filepath.Join(root, cgroup, "freezer.state")); err != nil || string(state) != want {
			t.Errorf("%s is %q, %v", cgroup, state, err)
		}
	}
}
