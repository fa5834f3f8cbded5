package kind

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
)

// node is a container of the cluster shop as a runtime describes it, ours or of whoever.
func node(ours bool) string {
	mark := "/somewhere"
	if ours {
		mark = "/kind/rekindle/hash-0a1b/created-1/mark"
	}
	return `[{"Name": "/shop-control-plane", "Config": {"Labels": {"io.x-k8s.kind.cluster": "shop", "io.x-k8s.kind.role": "control-plane"}},
  "Mounts": [{"Destination": "` + mark + `"}]}]`
}

// told gives what a fake command wrote into a file, a line for each call.
func told(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(raw)
}

// TestTheVolumesOfPodmanGo: it has names for them, so that they do not go with their containers.
func TestTheVolumesOfPodmanGo(t *testing.T) {
	calls := filepath.Join(t.TempDir(), "calls")
	commands(t, map[string]string{"podman": `-v) echo "podman version 5.4.2";;
"ps "*) echo id;;
"inspect --type container id") echo '` + node(true) + `';;
"rm "*) echo "$*" >>` + calls + `;;
"volume ls --quiet --filter label=shop-control-plane") echo 0a1b2c;;
"volume rm "*) echo "$*" >>` + calls + `;;`})
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	if err := New(Settings{}).Delete(t.Context(), providers.Ref{Provider: Name, Name: "shop"}, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := told(t, calls), "rm --force --volumes shop-control-plane\nvolume rm 0a1b2c\n"; got != want {
		t.Errorf("called:\n%s\nwant:\n%s", got, want)
	}
}

// TestPodmanSaysItInItsOwnWords: a container that goes while it is listed, and a name that is taken.
func TestPodmanSaysItInItsOwnWords(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	commands(t, map[string]string{"podman": `-v) echo "podman version 5.4.2";;
"ps "*) if test -f ` + gone + `; then exit 0; fi; echo id;;
"inspect "*) echo >` + gone + `; echo 'Error: inspecting object: no such container "id"' >&2; exit 125;;`})
	if nodes, err := detect().list(t.Context(), "shop"); err != nil || len(nodes) > 0 {
		t.Errorf("%v, %v", nodes, err)
	}
	for _, text := range []string{
		`docker: Error response from daemon: Conflict. The container name "/shop-control-plane" is already in use by container "0a1b".`,
		`Error: creating container storage: the container name "shop-control-plane" is already in use by 0a1b. You have to remove that container`,
		`node(s) already exist for a cluster with the name "shop"`,
	} {
		if !isTaken(errors.New(text)) {
			t.Errorf("not known as a name that is taken: %s", text)
		}
	}
	if isTaken(errors.New("listen tcp4 127.0.0.1:8080: bind: address already in use")) {
		t.Error("a port is taken for a name")
	}
}

// TestAnInterruptedCreationRemovesOnlyItsOwn: while it fetched the image, somebody may have made a cluster of the name.
func TestAnInterruptedCreationRemovesOnlyItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		ours bool
		want string
	}{"ours": {true, "rm --force --volumes shop-control-plane\n"}, "somebody's": {false, ""}} {
		calls := filepath.Join(t.TempDir(), "calls")
		commands(t, map[string]string{"docker": dockerVersion + `
"ps "*) if test -f ` + calls + `; then exit 0; fi; echo id;;
"inspect --type container id") echo '` + node(c.ours) + `';;
"rm "*) echo "$*" >>` + calls + `;;`})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		done := make(chan error, 1)
		done <- errors.New("kind gave up")
		if err := New(Settings{}).abort(ctx, "shop", done); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if got := told(t, calls); got != c.want {
			t.Errorf("%s: called %q, want %q", name, got, c.want)
		}
	}
}

// TestWhatComesAfterTheLookIsLookedAtAgain: containers that a killed run had asked for are ours to remove, a cluster that was made
// meanwhile is not, be it by another run or by somebody else.
func TestWhatComesAfterTheLookIsLookedAtAgain(t *testing.T) {
	for name, c := range map[string]struct {
		ours bool
		says string // what the node says of itself
		rm   string
		kind fault.Kind
	}{
		"a killed run's": {true, "half-made", "rm --force --volumes shop-control-plane\n", fault.Failed}, // kind's next command is not known here
		"another run's":  {true, "v1.36.1", "", fault.Failed},                                            // nor how to reach its API server
		"somebody's":     {false, "v1.36.1", "", fault.Refused},
	} {
		dir := t.TempDir()
		came, calls := filepath.Join(dir, "came"), filepath.Join(dir, "calls")
		commands(t, map[string]string{"docker": dockerVersion + `
"info "*) echo '{"CgroupDriver":"systemd","CgroupVersion":"2","MemoryLimit":true,"PidsLimit":true,"CPUShares":true}';;
"image inspect "*) ;;
"context inspect "*) echo unix:///var/run/docker.sock;;
"network ls "*) echo kind;;
"ps -a "*) echo >` + came + `; if test -f ` + calls + `; then exit 0; fi; echo shop-control-plane;;
"ps --all --quiet "*) ;;
"ps "*) if test -f ` + calls + `; then exit 0; fi; if test -f ` + came + `; then echo id; fi;;
"inspect --type container id") echo '` + node(c.ours) + `';;
"start "*) ;;
"exec shop-control-plane sh "*) echo ` + c.says + `;;
"rm "*) echo "$*" >>` + calls + `;;`})
		t.Setenv("XDG_STATE_HOME", t.TempDir())
		_, err := New(Settings{Image: "kindest/node:v1.36.1"}).Ensure(t.Context(), providers.Spec{Name: "shop"}, nil)
		if fault.KindOf(err) != c.kind || strings.Contains(err.Error(), "already exist") {
			t.Errorf("%s: %v", name, err)
		}
		if got := told(t, calls); got != c.rm {
			t.Errorf("%s: called %q, want %q", name, got, c.rm)
		}
	}
}
