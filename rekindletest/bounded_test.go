package rekindletest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle"
)

// hurried is a test whose time is nearly over.
type hurried struct{ *testing.T }

func (hurried) Deadline() (time.Time, bool) { return time.Now().Add(beforeDeadline), true }

// TestTheTimeOfTheTestsIsBlamed when it ends a cluster, and no flag of a command that nobody called.
func TestTheTimeOfTheTestsIsBlamed(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: tested}\nspec: {provider: {kwok: {}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := bounded(hurried{t})
	defer cancel()
	_, err := rekindle.Run(ctx, file, rekindle.Options{}, rekindle.RunOptions{}, func(context.Context, *rekindle.Running) error { return nil })
	if text := rekindle.Explain(err); !strings.Contains(text, "go test a longer -timeout") || strings.Contains(text, "--timeout") {
		t.Errorf("%v", text)
	}
}
