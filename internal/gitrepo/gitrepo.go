// Package gitrepo holds the ops repository at one pinned commit: it resolves a ref, fetches exactly
// that commit, shows it as an fs.FS, renders a path of it, and serves a folder's repository read-only.
//
// Of a repository over the network, nothing here runs git, reads the user's git or ssh configuration, or writes outside its cache.
// Of a checkout on this machine, git is asked what it ignores and what is changed, where it is installed.
// What a reconciler would not see is not seen here either: symbolic links and submodules are left out, and what Flux leaves out.
package gitrepo

import (
	"context"
	"fmt"
	"log/slog"

	"golang.org/x/crypto/ssh"

	"github.com/rekindle-dev/rekindle/internal/config"
)

// Remote is a repository that is reached over the network, and what is wanted of it.
type Remote struct {
	URL  string     // https://…, http://…, ssh://… or git@host:path
	Ref  config.Ref // what to take; the zero value is the branch that HEAD points to
	Auth Auth
}

// Auth is how a repository is entered; the zero value is anonymous. It never prints its content.
type Auth struct {
	Username, Password string // basic; Password alone opens an encrypted Identity
	BearerToken        string
	Identity           []byte                       // PEM of an ssh private key
	Signers            func() ([]ssh.Signer, error) // such as those of an ssh agent, in place of Identity
	KnownHosts         []byte                       // in the format of known_hosts; always checked for ssh
	CA                 []byte                       // PEM of certificates that are trusted beside the system's
	ClientCert         []byte                       // PEM of the certificate that an https server wants to see, with its chain
	ClientKey          []byte                       // PEM of its private key
}

// AuthFrom reads the entries of a Secret as Flux does: username and password, bearerToken, identity
// with known_hosts and perhaps password, tls.crt and tls.key alone or beside the first two, and ca.crt (or caFile) beside any.
func AuthFrom(data map[string][]byte) Auth {
	ca := data["ca.crt"]
	if len(ca) == 0 {
		ca = data["caFile"]
	}
	return Auth{
		Username: string(data["username"]), Password: string(data["password"]),
		BearerToken: string(data["bearerToken"]),
		Identity:    data["identity"], KnownHosts: data["known_hosts"], CA: ca, ClientCert: data["tls.crt"], ClientKey: data["tls.key"],
	}
}

// String names the way, never a value.
func (a Auth) String() string {
	switch {
	case len(a.Identity) > 0:
		return "ssh identity"
	case a.Signers != nil:
		return "ssh agent"
	case a.BearerToken != "":
		return "bearer token"
	case a.Password != "" || a.Username != "":
		return "basic"
	case len(a.ClientCert) > 0:
		return "client certificate"
	default:
		return "anonymous"
	}
}

// Format keeps every verb of fmt from the values.
func (a Auth) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(a.String())) }

// MarshalJSON keeps the values out of every document.
func (a Auth) MarshalJSON() ([]byte, error) { return []byte(`"` + a.String() + `"`), nil }

// LogValue keeps the values out of every log.
func (a Auth) LogValue() slog.Value { return slog.StringValue(a.String()) }

// RefName says which ref is meant, as a person would: "branch main".
func RefName(r config.Ref) string {
	switch {
	case r.Commit != "":
		return "commit " + r.Commit
	case r.Tag != "":
		return "tag " + r.Tag
	case r.Branch != "":
		return "branch " + r.Branch
	default:
		return "the default branch"
	}
}

// Resolve asks the repository which commit the ref is now. A ref that is a commit is that commit;
// whether the repository has it is seen when it is fetched.
func Resolve(ctx context.Context, r Remote) (string, error) {
	if r.Ref.Commit != "" {
		return r.Ref.Commit, checkCommit(r)
	}
	s, err := dial(ctx, r)
	if err != nil {
		return "", explain(ctx, r, err)
	}
	defer s.Close()
	refs, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		return "", explain(ctx, r, err)
	}
	h, err := pick(refs, r)
	if err != nil {
		return "", err
	}
	return h.String(), nil
}
