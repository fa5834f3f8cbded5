package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// TestAPanicIsNoBadUsage, with whose code Go ends a program: something may have been changed.
func TestAPanicIsNoBadUsage(t *testing.T) {
	root := &cobra.Command{SilenceErrors: true, RunE: func(*cobra.Command, []string) error { panic("oh") }}
	root.SetArgs(nil)
	err := execute(t.Context(), root)
	if fault.Code(err) != fault.ExitFailed || !strings.Contains(fault.Text(err), "internal error: oh") || len(fault.Hints(err)) == 0 {
		t.Errorf("exit %d: %s", fault.Code(err), fault.Text(err))
	}
}

// TestTheExitCodeIsThatOfTheReport also where the time limit is the cause of what looks like bad usage.
func TestTheExitCodeIsThatOfTheReport(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	a := newApp(nil, out, out)
	defer a.close()
	a.output, a.timeout = "json", 1
	ctx := a.limit(t.Context())
	<-ctx.Done()
	code := fault.Code(a.fault(fault.Wrap(ctx.Err(), fault.Usage, "no ssh agent answers")))
	raw, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	var report struct{ ExitCode int }
	if err := json.Unmarshal(raw, &report); err != nil || code != fault.ExitFailed || report.ExitCode != code {
		t.Errorf("exit %d, %v:\n%s", code, err, raw)
	}
}
