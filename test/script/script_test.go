// Package script runs scripts against the real command: what a person types, the exit code, and the
// words that tell what is wrong and what to do.
//
// Each script of testdata is a txtar archive (see testscript's documentation) and runs in a folder of its
// own, with the sample repository in shop, its age key in shop.agekey, and a home folder where nothing is.
// Nothing here needs Docker or a network, and only the scripts that say simulated make a cluster.
package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/test/repos"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run builds the command once and puts it first into the PATH of the scripts.
func run(m *testing.M) int {
	bin, err := os.MkdirTemp("", "rekindle-script-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(bin)
	// With the flags of make build, whose compiled packages are then used.
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, "github.com/rekindle-dev/rekindle/cmd/rekindle")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the command: %v\n%s", err, out)
		return 1
	}
	restic, err := resticProgram()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	path := strings.Join([]string{bin, filepath.Dir(restic), os.Getenv("PATH")}, string(os.PathListSeparator))
	if err := os.Setenv("PATH", path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// resticProgram is that of the user's cache of programs: no script shall build it again.
func resticProgram() (string, error) {
	cache, err := assets.Open("")
	if err != nil {
		return "", err
	}
	if err := os.Setenv("ASSETS", cache.Dir); err != nil {
		return "", err
	}
	return cache.Get(context.Background(), state.ResticAsset(), nil)
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", Setup: setup, RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":     exits,
			"report":    reported,
			"helps":     helps,
			"replace":   replace,
			"chartsite": chartSite,
			"serve":     serve,
			"untouched": untouched,
			"simulated": simulated,
			"edit":      edit,
			"readonly":  readonly,
		},
	})
}

// setup gives a script the sample repository and an environment in which nothing of this machine's user is found.
func setup(env *testscript.Env) error {
	r, err := repos.Make(env.WorkDir)
	if err != nil {
		return err
	}
	key, err := r.Key()
	if err != nil {
		return err
	}
	home := filepath.Join(env.WorkDir, "home")
	env.Setenv("HOME", home)
	env.Setenv("REKINDLE_ASSETS", filepath.Join(home, "assets"))
	env.Setenv("ASSETS", os.Getenv("ASSETS"))
	env.Setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
	env.Setenv("SOPS_AGE_KEY", key)
	env.Setenv("DEV", filepath.Join("shop", "clusters", "dev", "cluster.yaml"))
	env.Setenv("STACK", filepath.Join("shop", "stacks", "platform.yaml"))
	return os.Mkdir(home, 0o755)
}

// exits runs a command that must end with exactly this code: exits CODE COMMAND [ARG...].
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	if asksForJSON(args[1:]) {
		typed(ts)
	}
}

// asksForJSON says whether a command line of rekindle has -o json. A schema is not one of its lines, but a document.
func asksForJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	o := slices.Index(args, "-o")
	return o > 0 && o+1 < len(args) && args[o+1] == "json" && args[0] == "rekindle" && args[1] != "schema"
}

// typed shows that every line of stdout is an object with a type, by which a program tells it from others.
func typed(ts *testscript.TestScript) {
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		var v struct{ Type string }
		if err := json.Unmarshal([]byte(line), &v); err != nil || v.Type == "" {
			ts.Fatalf("a line without a type (%v): %s", err, line)
		}
	}
}

// helps shows that each command answers --help with its own usage: helps COMMAND...
func helps(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: helps COMMAND...")
	}
	for _, name := range args {
		ts.Check(ts.Exec("rekindle", name, "--help"))
		if out := ts.ReadFile("stdout"); !strings.Contains(out, "Usage:\n  rekindle "+name) {
			ts.Fatalf("no usage of %s in:\n%s", name, out)
		}
	}
}

// reported holds the last line of stdout, which must be the report, against result and exit code, and
// every line before it against being JSON: report RESULT CODE.
func reported(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: report RESULT CODE")
	}
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	for i, line := range lines {
		var v struct {
			Type, Result string
			ExitCode     *int
			Steps        []any
			Faults       []struct{ Error string }
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			ts.Fatalf("line %d is no JSON: %v: %s", i+1, err, line)
		}
		last := i == len(lines)-1
		switch {
		case last != (v.Type == "report"):
			ts.Fatalf("line %d of %d has type %q: the report is the last line and no other", i+1, len(lines), v.Type)
		case !last:
		case v.Result != args[0] || v.ExitCode == nil || strconv.Itoa(*v.ExitCode) != args[1]:
			ts.Fatalf("want result %s, exit code %s: %s", args[0], args[1], line)
		case v.Steps == nil:
			ts.Fatalf("no list of steps: %s", line)
		case (len(v.Faults) > 0) != (args[0] != "proven"):
			ts.Fatalf("%d faults with the result %s: %s", len(v.Faults), args[0], line)
		}
	}
}

// replace replaces the one place of a file that has a text: replace FILE OLD NEW, where \n stands for a new line.
func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	lines := strings.NewReplacer(`\n`, "\n")
	content, old, text := ts.ReadFile(args[0]), lines.Replace(args[1]), lines.Replace(args[2])
	if n := strings.Count(content, old); n != 1 {
		ts.Fatalf("%s has %q %d times, want once", args[0], old, n)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(content, old, text, 1)), 0o644))
}

// untouched shows that nothing was made but what is cached: no cluster, no kubeconfig, no record of a run.
func untouched(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: untouched")
	}
	home := ts.Getenv("HOME")
	entries, err := os.ReadDir(home)
	ts.Check(err)
	for _, e := range entries {
		if !slices.Contains([]string{".cache", ".docker"}, e.Name()) {
			ts.Fatalf("%s was made", filepath.Join(home, e.Name()))
		}
	}
}
