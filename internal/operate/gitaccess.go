package operate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"golang.org/x/crypto/ssh/agent"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/gitrepo"
)

// sshAccess is how git on this machine would enter a repository over ssh: with the keys of the agent and the user's known_hosts,
// since a document that is not read yet names no key. It is empty where the repository is reached otherwise. What is opened is
// closed by the function.
func sshAccess(ctx context.Context, repository string) (gitrepo.Auth, func(), error) {
	nothing := func() {}
	ep, err := transport.NewEndpoint(repository)
	if err != nil || ep.Protocol != "ssh" {
		return gitrepo.Auth{}, nothing, nil //nolint:nilerr // who opens it says what is wrong
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return gitrepo.Auth{}, nothing, err
	}
	known, err := os.ReadFile(filepath.Join(home, ".ssh", "known_hosts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return gitrepo.Auth{}, nothing, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", os.Getenv("SSH_AUTH_SOCK"))
	if err != nil {
		return gitrepo.Auth{}, nothing, fault.Wrap(err, fault.Usage, "no ssh agent answers at $SSH_AUTH_SOCK").On("Git repository %s", repository).
			WithHint("start one and give it your key: eval $(ssh-agent); ssh-add")
	}
	return gitrepo.Auth{
		Signers:    agent.NewClient(conn).Signers,
		KnownHosts: append(known, '\n'), // without any host, each is told as unknown
	}, func() { _ = conn.Close() }, nil
}

// helperGrace is how long a helper that git has started may keep its output open when git itself has ended.
const helperGrace = time.Second

// credential asks git for a user and password, as git itself would; it is empty when git has none. Nobody is asked at the
// terminal, and nothing of it is in an argument. There is none for a way that is not encrypted.
func credential(ctx context.Context, repository string) gitrepo.Auth {
	u, err := url.Parse(repository)
	if err != nil || u.Scheme != "https" && !isLoopback(u.Hostname()) {
		return gitrepo.Auth{}
	}
	cmd := exec.CommandContext(ctx, "git", "credential", "fill")
	cmd.Stdin = strings.NewReader(fmt.Sprintf("protocol=%s\nhost=%s\npath=%s\n\n", u.Scheme, u.Host, strings.TrimPrefix(u.EscapedPath(), "/")))
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0")
	cmd.WaitDelay = helperGrace
	out, err := cmd.Output()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) { // git has answered, and a helper stays
		return gitrepo.Auth{} // without git, or without such a credential: the repository says what is lacking
	}
	var auth gitrepo.Auth
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		switch name, value, _ := strings.Cut(lines.Text(), "="); name {
		case "username":
			auth.Username = value
		case "password":
			auth.Password = value
		}
	}
	return auth
}

// isLoopback says whether a host is this machine, so that nobody is on the way.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
