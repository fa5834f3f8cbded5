package flux

import (
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/config"
)

func TestTheControllerIsToldToMendAtOnceWhereItKnowsHow(t *testing.T) {
	added := map[string]any{"kustomizeController": map[string]any{"container": map[string]any{"additionalArgs": []any{mendAtOnce}}}}
	own := map[string]any{"kustomizeController": map[string]any{"container": map[string]any{"additionalArgs": []any{"--own"}}}}
	other := map[string]any{"logLevel": "debug"}
	for _, c := range []struct {
		name, version string
		given, want   map[string]any
	}{
		{"the default version", "", nil, added},
		{"a newer version", "2.18.1", nil, added},
		{"an older version", "2.16.4", nil, nil},
		{"own arguments", "2.17.0", own, own},
		{"other values", "2.17.0", other, map[string]any{"logLevel": "debug", "kustomizeController": added["kustomizeController"]}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := New(config.Flux{Version: c.version, Values: c.given}).Release().Values; !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	if len(other) != 1 {
		t.Errorf("the given values were changed: %v", other)
	}
}

// Everybody on this machine can list source-controller's storage: nothing else may be below it.
func TestTheStorageThatIsServedHoldsArtifactsAlone(t *testing.T) {
	for _, proc := range New(config.Flux{}).HostProcesses() {
		if proc.Name != "source-controller" {
			continue
		}
		for _, arg := range proc.Args {
			storage, is := strings.CutPrefix(arg, "--storage-path=")
			if !is {
				continue
			}
			for _, name := range []string{"HOME", "TMPDIR"} {
				if strings.HasPrefix(proc.Env[name]+"/", storage+"/") || !slices.Contains(proc.Folders, path.Base(proc.Env[name])) {
					t.Errorf("%s is %s, and %s is served", name, proc.Env[name], storage)
				}
			}
			if !slices.Contains(proc.Folders, path.Base(storage)) {
				t.Errorf("nobody makes %s", storage)
			}
			return
		}
	}
	t.Error("source-controller has no storage")
}
