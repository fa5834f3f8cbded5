package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// sshSession runs git-upload-pack on the other side. go-git's own ssh transport takes no context and
// reads the user's configuration, so that a run would depend on the machine it is started on.
type sshSession struct {
	client  *ssh.Client
	stdin   io.WriteCloser
	stdout  io.Reader
	stderr  *bytes.Buffer
	session *ssh.Session
	release func() bool // ends the watch of the context
	refs    *packp.AdvRefs
}

func dialSSH(ctx context.Context, ep *transport.Endpoint, r Remote) (session, error) {
	port := ep.Port
	if port <= 0 {
		port = 22
	}
	addr := net.JoinHostPort(ep.Host, strconv.Itoa(port))
	cfg, err := sshConfig(ep, addr, r)
	if err != nil {
		return nil, err
	}
	conn, err := dialIdle(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// The handshake and the session know no context: closing the connection ends both.
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, chans, reqs, err := ssh.NewClientConn(conn, addr, cfg)
	if err != nil {
		release()
		_ = conn.Close() // which the handshake mostly did
		return nil, explainHandshake(err, ep)
	}
	s := &sshSession{client: ssh.NewClient(c, chans, reqs), release: release, stderr: &bytes.Buffer{}}
	if err := s.start(ep.Path); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *sshSession) start(path string) (err error) {
	if s.session, err = s.client.NewSession(); err != nil {
		return err
	}
	if s.stdin, err = s.session.StdinPipe(); err != nil {
		return err
	}
	if s.stdout, err = s.session.StdoutPipe(); err != nil {
		return err
	}
	s.session.Stderr = &limited{w: s.stderr, left: 4096}
	return s.session.Start("git-upload-pack " + quote(path))
}

// quote makes one argument of a shell out of a path, as git does.
func quote(path string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}

// AdvertisedReferencesContext reads what the other side has; only the first call speaks to it.
func (s *sshSession) AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error) {
	if s.refs != nil {
		return s.refs, nil
	}
	refs := packp.NewAdvRefs()
	if err := refs.Decode(s.stdout); err != nil {
		if errors.Is(err, packp.ErrEmptyAdvRefs) {
			return nil, transport.ErrEmptyRemoteRepository
		}
		return nil, s.said(err)
	}
	keepMultiACK(refs.Capabilities)
	s.refs = refs
	return refs, nil
}

// UploadPack asks for a pack.
func (s *sshSession) UploadPack(_ context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	err := req.UploadRequest.Encode(s.stdin)
	if err == nil {
		_, err = io.WriteString(s.stdin, "0009done\n")
	}
	if err = errors.Join(err, s.stdin.Close()); err != nil {
		return nil, s.said(err)
	}
	resp := packp.NewUploadPackResponse(req)
	if err := resp.Decode(io.NopCloser(s.stdout)); err != nil {
		return nil, s.said(err)
	}
	return resp, nil
}

// said joins to an error what the other side wrote about it; Wait, so that all of it is there.
func (s *sshSession) said(err error) error {
	_ = s.stdin.Close()
	_ = s.session.Wait()
	if text := strings.TrimSpace(s.stderr.String()); text != "" {
		return fmt.Errorf("%w: the server says: %s", err, text)
	}
	return err
}

// Close ends the conversation.
func (s *sshSession) Close() error {
	s.release()
	if err := s.client.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// sshConfig takes identity and known hosts from what it is given alone; there is no way around either.
func sshConfig(ep *transport.Endpoint, addr string, r Remote) (*ssh.ClientConfig, error) {
	on := func(e *fault.Error) *fault.Error { return e.On("Git repository %s", r.name()) }
	signers := r.Auth.Signers
	if signers == nil {
		if len(r.Auth.Identity) == 0 {
			return nil, on(fault.New(fault.Usage, "ssh needs a key with the entries identity and known_hosts")).
				WithHint("add such a key to spec.keys and name it in spec.source.auth.secret")
		}
		signer, err := parseIdentity(r.Auth)
		if err != nil {
			return nil, on(err)
		}
		signers = func() ([]ssh.Signer, error) { return []ssh.Signer{signer}, nil }
	}
	if len(r.Auth.KnownHosts) == 0 {
		return nil, on(fault.New(fault.Usage, "its key has no entry known_hosts, so the host key cannot be verified")).
			WithHint("%s", scanHint(ep.Host, ep.Port))
	}
	db, err := parseKnownHosts(r.Auth.KnownHosts)
	if err != nil {
		return nil, on(fault.Wrap(err, fault.Usage, "the entry known_hosts of its key cannot be read"))
	}
	user := ep.User
	if user == "" {
		user = "git"
	}
	return &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeysCallback(signers)}, Timeout: dialTimeout,
		HostKeyAlgorithms: db.HostKeyAlgorithms(addr),
		HostKeyCallback: func(host string, remote net.Addr, key ssh.PublicKey) error {
			return explainHostKey(db.HostKeyCallback()(host, remote, key), ep, key)
		},
	}, nil
}

func parseIdentity(a Auth) (ssh.Signer, *fault.Error) {
	const unreadable = "the entry identity of its key cannot be read"
	signer, err := ssh.ParsePrivateKey(a.Identity)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		return signer, nil
	case !errors.As(err, &locked):
		return nil, fault.Wrap(err, fault.Usage, unreadable).WithHint("give a private key as ssh-keygen writes it, such as ~/.ssh/id_ed25519")
	case a.Password == "":
		return nil, fault.Wrap(err, fault.Usage, unreadable).WithHint("add the passphrase to that key as the entry password")
	}
	if err := checkLine("password", a.Password); err != nil {
		return nil, err
	}
	if signer, err = ssh.ParsePrivateKeyWithPassphrase(a.Identity, []byte(a.Password)); err != nil {
		return nil, fault.Wrap(err, fault.Usage, unreadable).WithHint("check that the entry password of that key is its passphrase")
	}
	return signer, nil
}

// parseKnownHosts reads the entry through a file that lives only as long as the call: the parser
// takes nothing else. The content is public.
func parseKnownHosts(raw []byte) (*knownhosts.HostKeyDB, error) {
	f, err := os.CreateTemp("", "rekindle-known-hosts-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	db, err := knownhosts.NewDB(f.Name())
	if err != nil {
		err = errors.New(strings.ReplaceAll(err.Error(), f.Name(), "line")) // "line:3: …"
	}
	return db, err
}

// explainHandshake tells of a host that has no key of the types that known_hosts has: the handshake then ends before it shows one.
func explainHandshake(err error, ep *transport.Endpoint) error {
	if !strings.Contains(err.Error(), "no common algorithm for host key") {
		return err
	}
	return fault.Wrap(err, fault.Refused, "known_hosts has no key of a type that host %s shows", ep.Host).
		WithHint("compare the fingerprints with those its operator publishes, then %s", scanHint(ep.Host, ep.Port))
}

// explainHostKey tells an unknown host from one whose key is another now.
func explainHostKey(err error, ep *transport.Endpoint, key ssh.PublicKey) error {
	var wrong *xknownhosts.KeyError
	if err == nil {
		return nil
	}
	if !errors.As(err, &wrong) { // it is revoked, or its certificate is not for this host, or no longer valid
		return fault.Wrap(err, fault.Refused, "known_hosts does not accept the key of host %s", ep.Host).
			WithHint("ask its operator which key is valid now")
	}
	print := ssh.FingerprintSHA256(key)
	if len(wrong.Want) == 0 {
		return fault.New(fault.Refused, "host %s is not in known_hosts; it shows the %s key %s", ep.Host, key.Type(), print).
			WithHint("compare the fingerprint with the one its operator publishes, then %s", scanHint(ep.Host, ep.Port))
	}
	var known []string
	for _, k := range wrong.Want {
		known = append(known, ssh.FingerprintSHA256(k.Key))
	}
	return fault.New(fault.Refused, "host %s shows the %s key %s, but known_hosts has %s", ep.Host, key.Type(), print, strings.Join(known, ", ")).
		WithHint("possibly a man-in-the-middle attack: continue only if its operator says that the key was changed, then %s", scanHint(ep.Host, ep.Port))
}

func scanHint(host string, port int) string {
	if port > 0 && port != 22 {
		return fmt.Sprintf("add the output of: ssh-keyscan -p %d %s", port, host)
	}
	return "add the output of: ssh-keyscan " + host
}

// limited keeps the first bytes of what is written to it.
type limited struct {
	mu   sync.Mutex
	w    *bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(p), l.left)
	l.left -= n
	l.w.Write(p[:n])
	return len(p), nil
}
