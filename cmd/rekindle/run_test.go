package main

import (
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// A cluster takes longer to make than a command to look for.
func TestACommandThatIsNotThereIsToldBeforeThereIsACluster(t *testing.T) {
	for _, command := range []string{"no-such-command", "./smoke.sh", t.TempDir()} {
		code, out := call(t, "run", "cluster.yaml", "--", command, "-v")
		if code != fault.ExitUsage || !strings.Contains(out, "error: "+command+" could not be run: ") || !strings.Contains(out, "sh -c") {
			t.Errorf("%s: exit code %d with:\n%s", command, code, out)
		}
	}
}
