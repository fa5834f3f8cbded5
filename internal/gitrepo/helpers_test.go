package gitrepo

import (
	"io"
	"maps"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// gitCommand runs the real git, cut off from the configuration of the machine.
func gitCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := tryGit(t, dir, args...)
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

func tryGit(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(files[name]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func commit(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	write(t, dir, files)
	gitCommand(t, dir, "add", "-A")
	gitCommand(t, dir, "commit", "-q", "-m", "change")
	return gitCommand(t, dir, "rev-parse", "HEAD")
}

// newRepo is a checkout with one commit on main.
func newRepo(t *testing.T, files map[string]string) (dir, head string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "ops")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	gitCommand(t, dir, "init", "-q", "-b", "main")
	return dir, commit(t, dir, files)
}

// backend serves checkouts with git's own server; extra is its configuration.
func backend(t *testing.T, dir string, extra ...string) *cgi.Handler {
	t.Helper()
	core := gitCommand(t, dir, "--exec-path")
	env := []string{"GIT_PROJECT_ROOT=" + filepath.Dir(dir), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}
	return &cgi.Handler{Path: filepath.Join(core, "git-http-backend"), Env: append(env, extra...), Stderr: io.Discard}
}

// gitServer is the URL of a checkout under git's own server.
func gitServer(t *testing.T, dir string) string {
	t.Helper()
	srv := httptest.NewServer(backend(t, dir))
	t.Cleanup(srv.Close)
	return srv.URL + "/" + filepath.Base(dir) + "/.git"
}
