package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

const (
	bareDocument = "apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: NAME}\nspec: {provider: {kwok: {}}"
	harmless     = bareDocument + "}\n"
	hostile      = bareDocument + ", keys: [{name: k, namespace: x, from: {exec: [touch, MARK], key: a}}, {name: f, namespace: x, from: {file: /etc/hostname}}],\n" +
		"  state: {repository: ./s, password: {exec: [touch, MARK]}}}\n"
)

// ops is a repository with documents, and a home folder where nothing is.
func ops(t *testing.T) (dir, mark string) {
	t.Helper()
	home := t.TempDir()
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"} {
		t.Setenv(name, home)
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	dir, mark = filepath.Join(t.TempDir(), "ops"), filepath.Join(home, "mark")
	git(t, "", "init", "-q", "-b", "main", dir)
	files := map[string]string{"cluster.yaml": strings.Replace(harmless, "NAME", "of-main", 1), "hostile.yaml": strings.ReplaceAll(hostile, "MARK", mark)}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Replace(content, "NAME", "hostile", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "x")
	git(t, dir, "tag", "v1")
	if err := os.WriteFile(filepath.Join(dir, "cluster.yaml"), []byte(strings.Replace(harmless, "NAME", "of-next", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "commit", "-q", "-am", "y")
	return dir, mark
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.com"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// private serves a repository with git's own server to who knows the password.
func private(t *testing.T, dir string) string {
	t.Helper()
	backend := &cgi.Handler{
		Path: filepath.Join(git(t, "", "--exec-path"), "git-http-backend"), Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(dir), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "s3cret-of-git" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/" + filepath.Base(dir) + "/.git"
}

// helped gives git a credential helper that knows a password.
func helped(t *testing.T, password string) {
	t.Helper()
	config := "[credential]\n\thelper = \"!f() { test \\\"$1\\\" = get && echo username=me && echo password=" + password + "; }; f\"\n"
	if err := os.WriteFile(filepath.Join(os.Getenv("HOME"), ".gitconfig"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A document that somebody else wrote runs no command and reads no file of this machine, unless the user trusts it.
func TestADocumentOfARepositoryUsesNothingOfThisMachine(t *testing.T) {
	dir, mark := ops(t)
	repository := private(t, dir)
	helped(t, "s3cret-of-git")
	for _, command := range []string{"plan", "status", "rehearse", "snapshots"} {
		code, out := call(t, command, repository+"//hostile.yaml")
		if code != fault.ExitRefused || !strings.Contains(out, "--trust-document") {
			t.Errorf("%s: exit code %d with:\n%s", command, code, out)
		}
		for _, field := range []string{"spec.keys[0].from.exec", "spec.keys[1].from.file", "spec.state.password.exec"} {
			if !strings.Contains(out, field+": a document in a repository may not use commands") {
				t.Errorf("%s: no word of %s in:\n%s", command, field, out)
			}
		}
		if _, err := os.Stat(mark); err == nil {
			t.Fatalf("%s ran a command of the document", command)
		}
	}
	_, out := call(t, "plan", "--trust-document", repository+"//hostile.yaml")
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("a document that is trusted: %v:\n%s", err, out)
	}
	if code, out := call(t, "plan", filepath.Join(dir, "hostile.yaml")); code == fault.ExitRefused {
		t.Errorf("a file of this machine: %s", out)
	}
}

func TestAPrivateDocumentIsReadWithGitsCredentials(t *testing.T) {
	dir, _ := ops(t)
	repository := private(t, dir)
	code, out := call(t, "plan", repository+"//cluster.yaml")
	if code != fault.ExitFailed || !strings.Contains(out, "credential helper; or clone the repository and give the FILE") || strings.Contains(out, "spec.") {
		t.Errorf("without credentials: exit code %d with:\n%s", code, out)
	}
	helped(t, "wr0ng-of-git")
	if code, out := call(t, "plan", repository+"//cluster.yaml"); code != fault.ExitFailed || strings.Contains(out, "wr0ng") {
		t.Errorf("with a wrong password: exit code %d with:\n%s", code, out)
	}
	helped(t, "s3cret-of-git")
	for ref, name := range map[string]string{"": "of-next", "?ref=main": "of-next", "?ref=v1": "of-main", "?ref=" + git(t, dir, "rev-parse", "v1"): "of-main"} {
		if code, out := call(t, "plan", repository+"//cluster.yaml"+ref); code != fault.ExitProven || !strings.Contains(out, "up "+name) {
			t.Errorf("%q: exit code %d with:\n%s", ref, code, out)
		}
	}
	for query, text := range map[string]string{"?ref=nothere": "has no branch nothere", "?depth=1": "only ?ref=NAME may follow", "?ref=": "only ?ref=NAME may follow"} {
		if code, out := call(t, "plan", repository+"//cluster.yaml"+query); code != fault.ExitUsage || !strings.Contains(out, text) || strings.Contains(out, "spec.") {
			t.Errorf("%q: exit code %d with:\n%s", query, code, out)
		}
	}
}

func TestADocumentIsReadOverSSHWithTheAgent(t *testing.T) {
	dir, _ := ops(t)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	addr, host := gitOverSSH(t, key)
	arg := "ssh://git@" + addr + dir + "//cluster.yaml"
	if code, out := call(t, "plan", arg); code != fault.ExitUsage || !strings.Contains(out, "no ssh agent answers") || !strings.Contains(out, "give the FILE") {
		t.Errorf("without an agent: exit code %d with:\n%s", code, out)
	}
	serveAgent(t, key)
	if code, out := call(t, "plan", arg); code != fault.ExitRefused || !strings.Contains(out, "is not in known_hosts") || !strings.Contains(out, ssh.FingerprintSHA256(host)) {
		t.Errorf("of an unknown host: exit code %d with:\n%s", code, out)
	}
	name, port, _ := net.SplitHostPort(addr)
	folder := filepath.Join(os.Getenv("HOME"), ".ssh")
	line := fmt.Sprintf("[%s]:%s %s", name, port, ssh.MarshalAuthorizedKey(host))
	if err := errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, "known_hosts"), []byte(line), 0o600)); err != nil {
		t.Fatal(err)
	}
	if code, out := call(t, "plan", arg+"?ref=v1"); code != fault.ExitProven || !strings.Contains(out, "up of-main") {
		t.Errorf("exit code %d with:\n%s", code, out)
	}
}

// serveAgent is an ssh agent with a key.
func serveAgent(t *testing.T, key ed25519.PrivateKey) {
	t.Helper()
	keyring := agent.NewKeyring()
	if err := keyring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = agent.ServeAgent(keyring, conn)
			_ = conn.Close()
		}
	}()
	t.Setenv("SSH_AUTH_SOCK", socket)
}

// gitOverSSH lets one key in and runs git's own server.
func gitOverSSH(t *testing.T, key ed25519.PrivateKey) (addr string, host ssh.PublicKey) {
	t.Helper()
	_, hostKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(hostKey)
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, shown ssh.PublicKey) (*ssh.Permissions, error) {
		if string(shown.Marshal()) != string(allowed.Marshal()) {
			return nil, errors.New("not allowed")
		}
		return nil, nil
	}}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			uploadPack(t, conn, config)
		}
	}()
	return l.Addr().String(), signer.PublicKey()
}

// uploadPack serves one connection.
func uploadPack(t *testing.T, conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, asked, err := c.Accept()
		if err != nil {
			return
		}
		for r := range asked {
			var call struct{ Command string }
			if r.Type != "exec" || ssh.Unmarshal(r.Payload, &call) != nil {
				_ = r.Reply(false, nil)
				continue
			}
			_ = r.Reply(true, nil)
			cmd := exec.CommandContext(t.Context(), "sh", "-c", call.Command)
			cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
			in, err := cmd.StdinPipe()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(in, channel); _ = in.Close() }()
			_ = cmd.Run()
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{}))
			_ = channel.Close()
		}
	}
}

// TestThePasswordInTheURLOfADocumentIsNotTold whatever is wrong with that, also where it is no URL.
func TestThePasswordInTheURLOfADocumentIsNotTold(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(t.TempDir(), "none"))
	for _, arg := range []string{
		"https://u:hunter@22@127.0.0.1:1/ops.git",
		"https://u:hunter@22@127.0.0.1:1/ops.git//c.yaml?x=1",
		"https://u:hunter%4022@127.0.0.1:1/ops.git//c.yaml",
		"https://u:hunter%zz22@127.0.0.1:1/ops.git//c.yaml",
		"ssh://u:hunter%4022@127.0.0.1:1/ops.git//c.yaml",
	} {
		if code, out := call(t, "up", arg); code == fault.ExitProven || !strings.Contains(out, "error: ") || strings.Contains(out, "hunter") {
			t.Errorf("%s: exit %d:\n%s", arg, code, out)
		}
	}
}
