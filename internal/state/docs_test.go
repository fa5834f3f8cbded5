package state_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/state"
)

// documentedSet is the set that docs/state.md has in its commands.
const documentedSet = "20261123-061501-ab12cd"

// TestTheDocumentedCommandsOfResticWork runs the very commands of docs/state.md, one shell for all of them, against a
// set that was made as rekindle makes it.
func TestTheDocumentedCommandsOfResticWork(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/state.md")
	if err != nil {
		t.Fatal(err)
	}
	r := newRepo(t)
	older := r.take(hour(1), 1, true)
	m := r.takeAs(documentedSet, time.Date(2026, 11, 23, 6, 15, 1, 0, time.UTC), 3, true)

	home := t.TempDir()
	file := filepath.Join(home, ".config/rekindle/state-password")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(raw), -1) {
		commands = append(commands, block[1])
	}
	before, after, found := strings.Cut(strings.Join(commands, ""), "restic forget")
	if !found || strings.Count(before, "restic ") < 6 {
		t.Fatalf("what became of the commands?\n%s", before)
	}
	run := func(script string) string {
		// What a test cannot have for itself: the folder /srv/state, and /data as a mover mounts it.
		script = strings.NewReplacer("/srv/state", r.dir, "latest:/data", "latest:"+r.data).Replace(script)
		cmd := exec.Command("sh", "-euxc", script)
		cmd.Dir = home
		cmd.Env = append(os.Environ(), "HOME="+home, "PATH="+filepath.Dir(r.restic)+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	out := run(before)
	if !strings.Contains(out, m.Claims[0].Snapshot[:8]) || !strings.Contains(out, "no errors were found") {
		t.Errorf("not what is there:\n%s", out)
	}
	same(t, r.data, filepath.Join(home, "restored"))
	raw, err = os.ReadFile(filepath.Join(home, "manifest.json"))
	var told state.Manifest
	if err != nil || json.Unmarshal(raw, &told) != nil || told.ID != documentedSet || told.Claims[0].Snapshot != m.Claims[0].Snapshot {
		t.Errorf("%s, %v", raw, err)
	}
	export, _, _ := strings.Cut(before, "\n")
	run(export + "\nrestic forget" + after)
	sets, err := r.Sets(t.Context())
	if err != nil || len(sets) != 1 || sets[0].ID != older.ID {
		t.Errorf("%+v, %v", sets, err)
	}
}
