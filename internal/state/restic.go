package state

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

// ResticVersion is that of the program of this build, and of the default image of movers.
const ResticVersion = "v0.18.1"

//go:embed modules/restic.txtar
var resticModule []byte

// ResticAsset is the program that reads and writes repositories on this machine.
func ResticAsset() assets.Asset {
	const name = "restic"
	version := strings.TrimPrefix(ResticVersion, "v")
	base := "https://github.com/restic/restic/releases/download/" + ResticVersion
	return assets.Asset{
		Name: name, Version: ResticVersion,
		Release: &assets.Release{
			URL:   fmt.Sprintf("%s/restic_%s_%s_%s.bz2", base, version, runtime.GOOS, runtime.GOARCH),
			Sums:  base + "/SHA256SUMS",
			Bzip2: true,
		},
		Module: &assets.Module{
			Name: name, Archive: resticModule, LDFlags: []string{"-s", "-w"},
			Programs: []assets.Program{{Name: name, Package: "github.com/restic/restic/cmd/restic"}},
		},
	}
}

// Exit codes of restic: https://restic.readthedocs.io/en/stable/075_scripting.html#exit-codes.
const (
	exitNoRepository  = 10
	exitLocked        = 11
	exitWrongPassword = 12
)

// lockTimeout is how long restic waits for another that uses the repository alone.
const lockTimeout = "2m"

// stopGrace is how long restic has to remove its lock when it is to end.
const stopGrace = 15 * time.Second

// exitError is a restic that failed.
type exitError struct {
	code int
	text string // the last of what it said
	said []byte // all of it
}

func (e *exitError) Error() string { return e.text }

// call is one run of restic.
type call struct {
	args  []string
	in    []byte
	line  func(line []byte) // is told each line of its output; nil: all of it is returned
	locks bool              // it waits for others that use the repository
	whole bool              // cut off, it cannot simply be begun again
}

// patience is how long the repository may not answer.
func (c *call) patience() time.Duration {
	if c.locks || c.whole {
		return longPatience
	}
	return shortPatience
}

// run calls restic. A lock that keeps it out is taken away if its run is surely dead. Those of others that may be alive are
// waited for.
func (r *Repository) run(ctx context.Context, c call) ([]byte, error) {
	out, err := r.once(ctx, c)
	var exit *exitError
	if !c.locks || !errors.As(err, &exit) || exit.code != exitLocked {
		return out, err
	}
	if err := r.unlock(ctx); err != nil {
		return nil, err
	}
	c.args = append(slices.Clip(c.args), "--retry-lock", lockTimeout)
	return r.once(ctx, c)
}

// once calls restic once. Nothing secret is among its arguments.
func (r *Repository) once(ctx context.Context, c call) ([]byte, error) {
	running, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	cmd := exec.CommandContext(running, r.settings.Restic, c.args...)
	cmd.Env = r.environment()
	cmd.Stdin = bytes.NewReader(c.in)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) } // then it removes its lock
	cmd.WaitDelay = stopGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for us, who tell it
	var out bytes.Buffer
	said := newComplaints(c.patience(), giveUp)
	cmd.Stdout, cmd.Stderr = &out, said
	if c.line != nil {
		lines := &lineWriter{tell: c.line}
		cmd.Stdout = lines
	}
	err := cmd.Run()
	said.stop()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil && said.why != "":
		return nil, errors.Join(ctx.Err(), r.unanswered(said.why))
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && errors.Is(context.Cause(running), errNoAnswer):
		return nil, r.unanswered(said.why)
	case errors.As(err, &exit):
		return nil, r.explain(&exitError{exit.ExitCode(), lastWords(said.said.Bytes()), said.said.Bytes()})
	case err != nil:
		return nil, fault.Wrap(err, fault.Failed, "run restic")
	}
	return out.Bytes(), nil
}

// environment is what restic gets: the repository, its password, its backend's credentials, and nothing else
// of the caller's that could be secret.
func (r *Repository) environment() []string {
	env := []string{"RESTIC_REPOSITORY=" + r.settings.Repository, "RESTIC_PASSWORD=" + string(r.settings.Password), "RESTIC_PROGRESS_FPS=2"}
	for _, name := range []string{"PATH", "HOME", "USER", "TMPDIR", "XDG_CACHE_HOME", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for name, value := range r.settings.Env {
		env = append(env, name+"="+value)
	}
	return env
}

// explain turns how restic ended into what a person can act on.
func (r *Repository) explain(e *exitError) error {
	f := fault.Wrap(e, fault.Failed, "restic").On("state repository %s", r.Name())
	switch {
	case e.code == exitWrongPassword:
		return fault.New(fault.Usage, "the password does not open it").On("state repository %s", r.Name()).
			WithHint("spec.state.password must be the one that the repository was created with")
	case e.code == exitNoRepository:
		return errors.Join(errNoRepository, fault.New(fault.Failed, "does not exist or cannot be reached: %s", e.text).On("state repository %s", r.Name()).
			WithHint("see whether spec.state.repository and its credentials are right; the first snapshot creates it, but not for a cluster that has had sets elsewhere: there, restic init does"))
	case e.code == exitLocked:
		return f.WithHint("another run uses it; wait until it has ended, and run this again; the lock of a killed run is removed once it has not been renewed for half an hour").Transient()
	case strings.Contains(e.text, "no credentials found"): // restic proposes a flag of its own, which nobody can give here
		return fault.New(fault.Usage, "this machine has no credentials for it").On("state repository %s", r.Name()).
			WithHint("set the variables of its storage before the command, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; docs/state.md lists them")
	case refused(e.text):
		return f.WithHint("its credentials are refused: renew them where this command gets them from (see docs/state.md), and run it again")
	case untrusted(e.text):
		return f.WithHint(hintTrust)
	case strings.Contains(e.text, "dial tcp") || strings.Contains(e.text, "no such host") || strings.Contains(e.text, "connection refused"):
		return f.WithHint("see whether the repository can be reached from this machine").Transient()
	}
	return f
}

// hintTrust is what to do about a server whose certificate is of nobody that this machine trusts.
const hintTrust = "set SSL_CERT_FILE to the certificate of the authority of its server, and for pods let spec.state.image have that too (see docs/state.md)"

// untrusted says whether restic does not trust the certificate of a server.
func untrusted(text string) bool { return strings.Contains(text, "x509: ") }

// refusals are what backends say who do not accept who asks. The number of a status is no part of another one, or of an address.
var refusals = regexp.MustCompile(`(^|[\s(])40[13]($|[\s),;:])|Unauthorized|Forbidden|AccessDenied|Access Denied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken`)

// refused says whether a backend does not accept who asks.
func refused(text string) bool { return refusals.MatchString(text) }

// Reasons for which restic fails, or is ended.
var (
	errNoRepository = errors.New("no repository") // there is none at the address
	errNoAnswer     = errors.New("no answer")     // there is nobody to tell
	errHangs        = errors.New("it hangs")      // after a failure, which it has told
)

// NoRepository says whether an error is that there is no repository at the address yet.
func NoRepository(err error) bool { return errors.Is(err, errNoRepository) }

// lastWords is the end of what restic said on its standard error, in one line. With --json it says it so.
func lastWords(said []byte) string {
	var words []string
	lines := bufio.NewScanner(bytes.NewReader(said))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		var message struct {
			Message string `json:"message"`
			Error   struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		if json.Unmarshal([]byte(line), &message) == nil {
			line = strings.TrimSpace(message.Message + message.Error.Message)
		}
		if line != "" {
			words = append(words, line)
		}
	}
	const most = 4
	if len(words) > most {
		words = words[len(words)-most:]
	}
	if len(words) == 0 {
		return "no output"
	}
	return strings.Join(words, "; ")
}

// lineWriter tells whole lines.
type lineWriter struct {
	tell func([]byte)
	rest []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, found := bytes.Cut(w.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		w.tell(line)
		w.rest = bytes.Clone(rest)
	}
}

// isLocal says whether a repository is a folder of this machine, and which.
func isLocal(repository string) (dir string, local bool) {
	if dir, ok := strings.CutPrefix(repository, "local:"); ok {
		return dir, true
	}
	if scheme, _, ok := strings.Cut(repository, ":"); ok && !strings.ContainsAny(scheme, `/\.`) && scheme != "" {
		return "", false
	}
	return filepath.Clean(repository), true
}
