package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/runs"
)

// TestBadUsageHasAHint shows that what cannot be a run ends with the code of bad usage and the next step.
func TestBadUsageHasAHint(t *testing.T) {
	for _, test := range []struct {
		args, text, hint string
	}{
		{"upp x.yaml", `rekindle has no command "upp"`, "did you mean up?"},
		{"frobnicate", `rekindle has no command "frobnicate"`, "rekindle --help"},
		{"up", "bad usage: no document is given", "give a Cluster document: rekindle up FILE|URL//PATH"},
		{"up a.yaml b.yaml", "bad usage: too many arguments: b.yaml", "rekindle up FILE|URL//PATH"},
		{"up -f x.yaml", "bad usage: the document is an argument, and no flag", "rekindle up x.yaml"},
		{"apply -f x.yaml", `rekindle has no command "apply"`, "did you mean up?"},
		{"stauts x.yaml --frob", `rekindle has no command "stauts"`, "did you mean status?"},
		{"--frob", "bad usage: unknown flag: --frob", "rekindle --help"},
		{"migrate stge a.yaml b.yaml", `bad usage: rekindle migrate has no command "stge"`, "did you mean rekindle migrate stage?"},
		{"snapshot vrify x.yaml", `bad usage: rekindle snapshot has no command "vrify"`, "did you mean rekindle snapshot verify?"},
		{"migrate a.yaml b.yaml c.yaml", "bad usage: accepts 2 arg(s), received 3", "rekindle migrate FROM TO"},
		{"list extra", "bad usage: too many arguments: extra", "rekindle list"},
		{"status --filename", "bad usage: the document is an argument, and no flag", "rekindle status FILE"},
		{"list --providr kwok", "bad usage: unknown flag: --providr", "did you mean --provider?"},
		{"list --timeout 20", "bad usage: --timeout 20: must be a duration, which has a unit", "give a unit: 20s, 20m"},
		{"list --timeout soon", "bad usage: --timeout soon: must be a duration", "such as 90s, 20m or 1h30m"},
		{"list --yes=no", "bad usage: --yes no: must be true or false", "--yes alone is true"},
		{"plan -", "-: documents are read from files only", "write it to a file"},
		{"plan https://git.example.com/acme/ops/blob/main/clusters/prod/cluster.yaml", "is the page of a file",
			"hint: https://git.example.com/acme/ops.git//clusters/prod/cluster.yaml?ref=main\n"},
		{"up --frob x.yaml", "bad usage: unknown flag: --frob", "rekindle up --help"},
		{"list --report x.html", "--report x.html: list runs nothing", "-o json"},
		{"up cluster.yaml --report no/such/folder/x.html", "--report: no/such/folder/x.html: the folder no/such/folder does not exist", "a folder that exists"},
		{"list --timeout -5s", "--timeout -5s is negative", "leave it out"},
		{"version -o xml", `unknown output format "xml"`, "use -o text or -o json"},
		{"up https://git.example.com/acme/ops.git", "does not name a document", "two slashes"},
		{"keep cluster.yaml --last 0", "--last 0: at least one set has to stay", "give 1 or more"},
		{"keep cluster.yaml --last -3", "--last -3: at least one set has to stay", "give 1 or more"},
		{"up http://git.example.com/acme/ops.git//cluster.yaml", "is not encrypted", "use https:// or ssh://"},
	} {
		t.Run(test.args, func(t *testing.T) {
			code, out := call(t, strings.Fields(test.args)...)
			if code != fault.ExitUsage {
				t.Errorf("exit code %d, want %d", code, fault.ExitUsage)
			}
			if !strings.Contains(out, test.text) {
				t.Errorf("no %q in:\n%s", test.text, out)
			}
			if !strings.Contains(out, "hint: ") || !strings.Contains(out, test.hint) {
				t.Errorf("no hint %q in:\n%s", test.hint, out)
			}
		})
	}
}

// TestAFlagWithoutAValueIsNotLeftOut: with the variable not set, "$COPY" would stand for the cluster that the document names.
func TestAFlagWithoutAValueIsNotLeftOut(t *testing.T) {
	for _, args := range [][]string{
		{"down", "x.yaml", "--yes", "--as", ""}, {"up", "x.yaml", "--source-from="}, {"snapshots", "x.yaml", "--as", ""}, {"drill", "x.yaml", "--hold", ""}, {"drill", "x.yaml", "--hold", "a,"},
		{"drill", "x.yaml", "--sentinel", ""}, {"run", "x.yaml", "--keep", "", "--", "true"}, {"version", "--kubeconfig", ""}, {"plan", "x.yaml", "--report", ""}, {"schema", "-o", ""},
	} {
		code, out := call(t, args...)
		if code != fault.ExitUsage || !strings.Contains(out, " is empty\n  hint: ") || strings.Contains(out, "no such file") {
			t.Errorf("%q: exit code %d with:\n%s", args, code, out)
		}
	}
}

// TestCompletionOffersWhatACommandTakes, and no files where none is meant.
func TestCompletionOffersWhatACommandTakes(t *testing.T) {
	state := t.TempDir()
	t.Setenv("XDG_STATE_HOME", state)
	run, err := runs.In(filepath.Join(state, "rekindle")).Begin(runs.Record{ID: "7f3a", Provider: "kwok", Cluster: "test-7f3a"})
	if err != nil {
		t.Fatal(err)
	}
	defer run.End()
	const document, nothing = "yaml\nyml\n:8\n", ":4\n"
	for args, want := range map[string]string{
		"up ": document, "up a.yaml ": nothing, "snapshot verify ": document, "snapshot verify a.yaml ": nothing,
		"run ": document, "migrate stage a.yaml ": document, "migrate stage a.yaml b.yaml ": nothing,
		"version ": nothing, "list ": nothing, "schema ": nothing, "gc --run ": "7f3a\tkwok test-7f3a\n:4\n",
	} {
		if code, out := call(t, append([]string{"__complete"}, strings.Split(args, " ")...)...); code != fault.ExitProven || !strings.HasPrefix(out, want) {
			t.Errorf("%s: exit code %d with:\n%s", args, code, out)
		}
	}
}

// TestWithoutACommandThereIsHelp shows that a first call with nothing is no fault.
func TestWithoutACommandThereIsHelp(t *testing.T) {
	code, out := call(t)
	if code != fault.ExitProven || !strings.Contains(out, "Clusters:") {
		t.Errorf("exit code %d with:\n%s", code, out)
	}
}

// call runs the command with both of its outputs in one file.
func call(t *testing.T, args ...string) (int, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	code := run(append([]string{}, args...), nil, out, out)
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return code, string(raw)
}

// TestBadUsageIsToldInTheFormatAskedFor also where that is asked for behind what is wrong: a program waits for a report.
func TestBadUsageIsToldInTheFormatAskedFor(t *testing.T) {
	for _, args := range []string{"up --frob -o json", "up --frob=1 x.yaml --output=json", "up --timeout x -vo json", "-o json up", "run x.yaml --frob -ojson -- cmd -o text"} {
		code, out := call(t, strings.Fields(args)...)
		var report struct {
			Type     string
			ExitCode int
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil || report.Type != "report" || code != fault.ExitUsage || report.ExitCode != code {
			t.Errorf("%s: exit %d, %v:\n%s", args, code, err, out)
		}
	}
	if _, out := call(t, "up", "--frob", "--", "-o", "json"); !strings.HasPrefix(out, "error: ") {
		t.Errorf("what is behind -- is no flag:\n%s", out)
	}
}
