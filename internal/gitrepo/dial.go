package gitrepo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

// A server that says nothing for this long has stalled. Any byte starts the time anew.
const (
	dialTimeout = 15 * time.Second
	idleTimeout = 60 * time.Second
)

// session is one conversation with the upload-pack of a repository.
type session interface {
	AdvertisedReferencesContext(ctx context.Context) (*packp.AdvRefs, error)
	UploadPack(ctx context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error)
	io.Closer
}

// dial opens a conversation the way the URL says.
func dial(ctx context.Context, r Remote) (session, error) {
	ep, err := transport.NewEndpoint(r.address())
	if err != nil {
		return nil, fault.Wrap(brief{err}, fault.Usage, "the URL cannot be read").On("Git repository %s", r.name())
	}
	switch ep.Protocol {
	case "ssh":
		return dialSSH(ctx, ep, r)
	case "http", "https":
		return dialHTTP(ep, r)
	}
	return nil, fault.New(fault.Usage, "the protocol %s is not supported", ep.Protocol).On("Git repository %s", r.name()).
		WithHint("give an https:// or ssh:// URL; a folder is served with --source-from DIR")
}

// address is the URL as whoever uses it reaches it. git@host:path is below the home of the user to git, and to an agent's keys, which
// are git's; a reconciler, whose key has an identity, gets it as ssh://git@host/path. On most servers that is the same.
func (r Remote) address() string {
	if r.Auth.Signers != nil {
		return r.URL
	}
	return config.RepoURL(r.URL)
}

func dialHTTP(ep *transport.Endpoint, r Remote) (session, error) {
	if err := r.Auth.checkHTTP(); err != nil {
		return nil, err.On("Git repository %s", r.name())
	}
	pool, err := roots(r)
	if err != nil {
		return nil, err
	}
	own, err := r.certificates()
	if err != nil {
		return nil, err
	}
	offers := &offers{RoundTripper: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialIdle,
		TLSClientConfig:       &tls.Config{RootCAs: pool, Certificates: own, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: idleTimeout,
		ForceAttemptHTTP2:     true,
		DisableKeepAlives:     true, // one conversation, and nothing of it outlives the caller
	}}
	var auth transport.AuthMethod
	switch {
	case r.Auth.BearerToken != "":
		auth = &githttp.TokenAuth{Token: r.Auth.BearerToken}
	case r.Auth.Username != "" || r.Auth.Password != "":
		auth = &githttp.BasicAuth{Username: r.Auth.Username, Password: r.Auth.Password}
	}
	s, err := githttp.NewClient(&http.Client{Transport: offers}).NewUploadPackSession(ep, auth)
	return &httpSession{s, offers}, err
}

// checkHTTP refuses entries that a server, or Flux, would refuse without saying why.
func (a Auth) checkHTTP() *fault.Error {
	for _, entry := range []struct{ name, value string }{{"username", a.Username}, {"password", a.Password}, {"bearerToken", a.BearerToken}} {
		if err := checkLine(entry.name, entry.value); err != nil {
			return err
		}
	}
	if a.Password != "" && a.Username == "" && a.BearerToken == "" {
		return fault.New(fault.Usage, "its key has the entry password without username: basic authentication needs both, and Flux refuses one alone").
			WithHint("add the entry username; for a token of GitHub or GitLab it may be any name, such as git")
	}
	return nil
}

// checkLine refuses the line end that an editor leaves in a file: Flux sends an entry as it is.
func checkLine(name, value string) *fault.Error {
	if !strings.ContainsAny(value, "\r\n") {
		return nil
	}
	return fault.New(fault.Usage, "the entry %s of its key has a line end, which would be a part of it", name).
		WithHint("write the file without one, as by: printf %%s \"$VALUE\" > FILE; or take it by from.exec: [cat, FILE], which drops it")
}

// roots are the certificates to trust; nil means the system's.
func roots(r Remote) (*x509.CertPool, error) {
	if len(r.Auth.CA) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(r.Auth.CA) {
		return nil, fault.New(fault.Usage, "the entry ca.crt of its key holds no PEM certificate").On("Git repository %s", r.name())
	}
	return pool, nil
}

// certificates are what is shown to a server that asks for a client's certificate.
func (r Remote) certificates() ([]tls.Certificate, error) {
	cert, key := len(r.Auth.ClientCert) > 0, len(r.Auth.ClientKey) > 0
	switch {
	case !cert && !key:
		return nil, nil
	case !cert || !key:
		return nil, fault.New(fault.Usage, "its key has only one of the entries tls.crt and tls.key, of which Flux takes none then").On("Git repository %s", r.name()).
			WithHint("give both, PEM of the client's certificate and of its private key: {env: {tls.crt: VARIABLE, tls.key: VARIABLE}}")
	}
	pair, err := tls.X509KeyPair(r.Auth.ClientCert, r.Auth.ClientKey)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "the entries tls.crt and tls.key of its key are no certificate with its private key").On("Git repository %s", r.name())
	}
	return []tls.Certificate{pair}, nil
}

// dialIdle connects; the connection fails once nothing moved for idleTimeout.
func dialIdle(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return idleConn{conn}, nil
}

// idleConn moves its deadline forward with every read and write.
type idleConn struct{ net.Conn }

func (c idleConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(idleTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c idleConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(idleTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
