package gitrepo

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"golang.org/x/crypto/ssh"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

// printed is a value by every verb that could show its inside.
func printed(t *testing.T, v any) []string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return []string{fmt.Sprint(v), fmt.Sprintf("%v %+v %#v %s %q %x %d", v, v, v, v, v, v, v), string(raw)}
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sshAuth(t *testing.T, key ed25519.PrivateKey, passphrase string) Auth {
	t.Helper()
	var block *pem.Block
	var err error
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(key, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return Auth{Identity: pem.EncodeToMemory(block), Password: passphrase,
		KnownHosts: []byte("elsewhere.example " + string(ssh.MarshalAuthorizedKey(signer.PublicKey())))}
}

// sshServer lets one client key in and runs the real git-upload-pack.
type sshServer struct {
	addr string
	host ssh.PublicKey
}

func (s sshServer) knownHosts() []byte {
	host, port, _ := net.SplitHostPort(s.addr)
	return []byte(fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(s.host)))
}

func newSSHServer(t *testing.T, client ed25519.PrivateKey) sshServer {
	t.Helper()
	hostKey, err := ssh.NewSignerFromKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := ssh.NewPublicKey(client.Public())
	if err != nil {
		t.Fatal(err)
	}
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(allowed.Marshal()) {
			return nil, errors.New("not allowed")
		}
		return nil, nil
	}}
	cfg.AddHostKey(hostKey)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serveSSH(t, conn, cfg) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return sshServer{l.Addr().String(), hostKey.PublicKey()}
}

func serveSSH(t *testing.T, conn net.Conn, cfg *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		ch, reqs, err := c.Accept()
		if err != nil {
			return
		}
		for r := range reqs {
			var exe struct{ Command string }
			if r.Type != "exec" || ssh.Unmarshal(r.Payload, &exe) != nil {
				_ = r.Reply(false, nil)
				continue
			}
			_ = r.Reply(true, nil)
			cmd := exec.CommandContext(t.Context(), "sh", "-c", exe.Command)
			cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
			in, err := cmd.StdinPipe()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(in, ch); _ = in.Close() }()
			status := uint32(0)
			if err := cmd.Run(); err != nil {
				status = 1
			}
			_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ S uint32 }{status}))
			_ = ch.Close()
		}
	}
}

func TestSSH(t *testing.T) {
	dir, head := newRepo(t, map[string]string{"a b/it's": "1"})
	key := newKey(t)
	srv := newSSHServer(t, key)
	remote := Remote{URL: "ssh://git@" + srv.addr + dir, Ref: config.Ref{Branch: "main"}}

	for _, passphrase := range []string{"", "open sesame"} {
		remote.Auth = sshAuth(t, key, passphrase)
		remote.Auth.KnownHosts = srv.knownHosts()
		tree, err := NewCache(t.TempDir()).Open(t.Context(), remote, nil)
		if err != nil || tree.Commit != head {
			t.Fatalf("passphrase %q: %v", passphrase, err)
		}
	}

	remote.Auth.Password = "open sesame\n"
	_, err := Resolve(t.Context(), remote)
	wantFault(t, err, fault.Usage, "the entry password of its key has a line end")
	remote.Auth.Password = ""
	_, err = Resolve(t.Context(), remote)
	wantFault(t, err, fault.Usage, "the entry identity of its key cannot be read", "add the passphrase to that key as the entry password")
	remote.Auth.Password = "open sesame"

	remote.URL += "-none"
	_, err = Resolve(t.Context(), remote)
	wantFault(t, err, fault.Failed, "does not exist, or is hidden")
}

// TestTheShortFormIsTakenAsTheReconcilerGetsIt: else a repository below a home folder would be found here, and not by Flux.
func TestTheShortFormIsTakenAsTheReconcilerGetsIt(t *testing.T) {
	signers := func() ([]ssh.Signer, error) { return nil, nil }
	for path, auth := range map[string]Auth{"/ops.git": {Identity: []byte("x")}, "ops.git": {Signers: signers}} {
		r := Remote{URL: "git@git.example.com:ops.git", Auth: auth}
		ep, err := transport.NewEndpoint(r.address())
		if err != nil || ep.Path != path || ep.Host != "git.example.com" || ep.User != "git" {
			t.Errorf("with %s: %v, %v", auth, ep, err)
		}
	}
	err := explain(t.Context(), Remote{URL: "git@git.example.com:ops.git"}, transport.ErrRepositoryNotFound)
	wantFault(t, err, fault.Failed, "which is ssh://git@git.example.com/ops.git to the reconciler")
}

func TestSSHHostIsAlwaysChecked(t *testing.T) {
	dir, _ := newRepo(t, map[string]string{"a": "1"})
	key := newKey(t)
	srv := newSSHServer(t, key)
	host, port, _ := net.SplitHostPort(srv.addr)
	remote := Remote{URL: "ssh://git@" + srv.addr + dir, Auth: sshAuth(t, key, "")}
	print := ssh.FingerprintSHA256(srv.host)

	_, err := Resolve(t.Context(), remote)
	wantFault(t, err, fault.Refused, "not in known_hosts", print, "ssh-keyscan -p "+port+" "+host)

	other, _ := ssh.NewPublicKey(newKey(t).Public())
	remote.Auth.KnownHosts = sshServer{srv.addr, other}.knownHosts()
	_, err = Resolve(t.Context(), remote)
	wantFault(t, err, fault.Refused, print, ssh.FingerprintSHA256(other), "possibly a man-in-the-middle attack")

	remote.Auth.KnownHosts = append([]byte("@revoked * "+string(ssh.MarshalAuthorizedKey(srv.host))), srv.knownHosts()...)
	_, err = Resolve(t.Context(), remote)
	wantFault(t, err, fault.Refused, "known_hosts does not accept the key of host "+host, "revoked")

	older, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err = ssh.NewPublicKey(older.Public())
	if err != nil {
		t.Fatal(err)
	}
	remote.Auth.KnownHosts = sshServer{srv.addr, other}.knownHosts()
	_, err = Resolve(t.Context(), remote)
	wantFault(t, err, fault.Refused, "known_hosts has no key of a type that host "+host+" shows", "ssh-keyscan -p "+port+" "+host)

	remote.Auth.KnownHosts = []byte("\nnonsense\n")
	_, err = Resolve(t.Context(), remote)
	wantFault(t, err, fault.Usage, "the entry known_hosts of its key cannot be read", "line:2:")

	remote.Auth.KnownHosts = nil
	_, err = Resolve(t.Context(), remote)
	wantFault(t, err, fault.Usage, "no entry known_hosts", "ssh-keyscan")

	remote.Auth = Auth{}
	_, err = Resolve(t.Context(), remote)
	wantFault(t, err, fault.Usage, "identity and known_hosts")

	remote.Auth = sshAuth(t, newKey(t), "")
	remote.Auth.KnownHosts = srv.knownHosts()
	_, err = Resolve(t.Context(), remote)
	wantFault(t, err, fault.Failed, "access was refused with ssh identity")
	if strings.Contains(fault.Text(err), "PRIVATE KEY") {
		t.Error("the identity is in the text")
	}
}
