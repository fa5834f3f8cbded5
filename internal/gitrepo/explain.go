package gitrepo

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"golang.org/x/crypto/ssh"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// name is the URL without what may be secret in it.
func (r Remote) name() string {
	u, err := url.Parse(r.URL)
	if err != nil || u.User == nil {
		return userOfURL.ReplaceAllString(r.URL, "$1") // one that cannot be parsed may have one too
	}
	if u.Scheme == "ssh" {
		u.User = url.User(u.User.Username())
	} else {
		u.User = nil
	}
	return u.String()
}

// explain makes a fault of what a conversation with a repository failed with.
func explain(ctx context.Context, r Remote, err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		if known.Object == "" {
			return known.On("Git repository %s", r.name())
		}
		return known
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", "Git repository "+r.name(), context.Cause(ctx))
	}
	return because(r, err).On("Git repository %s", r.name())
}

// answerOf is what a server answered that is neither a repository nor one of the answers that go-git knows.
func answerOf(err error) (status int, text string) {
	var unexpected *plumbing.UnexpectedError
	var answer *githttp.Err
	if errors.As(err, &unexpected) && errors.As(unexpected.Err, &answer) {
		return answer.StatusCode(), answer.Reason
	}
	return 0, ""
}

// isBusy says so of a server that may answer the same request in a moment.
func isBusy(err error) bool {
	status, _ := answerOf(err)
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
}

// refusesClient says so of a server that does not take the certificate of the client, or the lack of one: TLS says it, or nginx behind it.
func refusesClient(err error) bool {
	_, text := answerOf(err)
	return ofTLS.MatchString(err.Error()) || ofNginx.MatchString(text)
}

// brief is an error in one short line: go-git puts all that a server answered into its text, which may be a page of HTML, and
// net/http the user of a URL, which may be a token.
type brief struct{ error }

var (
	startOfPage = regexp.MustCompile(`(?i)<!doctype|<html`)
	ofTLS       = regexp.MustCompile(`remote error: tls: .*certificate`)
	ofNginx     = regexp.MustCompile(`No required SSL certificate was sent|The SSL certificate error`)
	userOfURL   = regexp.MustCompile(`(?i)(https?://)[^/\s"]*@`)
)

func (b brief) Error() string {
	const longest = 300
	text := userOfURL.ReplaceAllString(b.error.Error(), "$1")
	if at := startOfPage.FindStringIndex(text); at != nil {
		text = text[:at[0]] + "(a page of HTML)"
	}
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > longest {
		text = string(runes[:longest]) + "…"
	}
	return text
}

// Unwrap is what it says.
func (b brief) Unwrap() error { return b.error }

// because finds the cause that a person can do something about.
func because(r Remote, err error) *fault.Error {
	var (
		unknownCA *x509.UnknownAuthorityError
		hostname  x509.HostnameError
		expired   x509.CertificateInvalidError
		noName    *net.DNSError
		authErr   *ssh.ServerAuthError
		netErr    net.Error
	)
	wrap := func(kind fault.Kind, what string) *fault.Error { return fault.Wrap(brief{err}, kind, "%s", what) }
	switch {
	case errors.As(err, &unknownCA) || strings.Contains(err.Error(), "certificate signed by unknown authority"):
		return wrap(fault.Failed, "the certificate is signed by an authority that is not trusted here").
			WithHint("add the authority's certificate as entry ca.crt to the key that spec.source.auth names")
	case errors.As(err, &hostname), errors.As(err, &expired):
		return wrap(fault.Failed, "the certificate is not valid")
	case refusesClient(err):
		return wrap(fault.Failed, "the server refuses access with "+r.Auth.String()+": it wants a client's certificate that it trusts").
			WithHint("give the key named in spec.source.auth the entries tls.crt and tls.key, of a certificate that is valid and of the authority that the server trusts")
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed),
		errors.As(err, &authErr), strings.Contains(err.Error(), "unable to authenticate"):
		return wrap(fault.Failed, "access was refused with "+r.Auth.String()).
			WithHint("check that the key named in spec.source.auth is valid and may read the repository")
	case errors.Is(err, transport.ErrRepositoryNotFound), strings.Contains(err.Error(), "does not appear to be a git repository"):
		f := wrap(fault.Failed, "does not exist, or is hidden from "+r.Auth.String())
		if taken := r.address(); taken != r.URL {
			return f.WithHint("check spec.source.url, which is %s to the reconciler: give that with the whole path if yours is below a home folder", taken)
		}
		return f.WithHint("check spec.source.url, and spec.source.auth if it is private")
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return wrap(fault.Failed, "is empty").WithHint("push a first commit")
	case errors.As(err, &noName) && noName.IsNotFound:
		return wrap(fault.Failed, "the host name cannot be resolved").WithHint("check spec.source.url and the DNS settings of this machine")
	case strings.Contains(err.Error(), "object-format=sha256"):
		return wrap(fault.Usage, "has SHA-256 objects, which neither Flux nor rekindle reads").WithHint("push it to a repository with SHA-1 objects, which is Git's default")
	case isBusy(err):
		return wrap(fault.Failed, "cannot answer now").Transient().WithHint("look at the state of the server, and run the command again")
	case errors.As(err, &netErr), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return wrap(fault.Failed, "cannot be reached").Transient().
			WithHint("check that it is up and that this machine may connect to it")
	default:
		return wrap(fault.Failed, "does not answer like a Git repository").WithHint("see what git says: git ls-remote %s", r.name())
	}
}
