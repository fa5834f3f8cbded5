package gitrepo

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

func TestOpenTakesExactlyTheCommit(t *testing.T) {
	dir, first := newRepo(t, map[string]string{"a.yaml": "a: 1\n", "deep/er/b.yaml": "b: 1\n"})
	gitCommand(t, dir, "tag", "light")
	gitCommand(t, dir, "tag", "-a", "-m", "v1", "v1")
	tag := strings.TrimSpace(gitCommand(t, dir, "rev-parse", "v1"))
	second := commit(t, dir, map[string]string{"a.yaml": "a: 2\n"})
	url, cache := gitServer(t, dir), NewCache(t.TempDir())

	for name, c := range map[string]struct {
		ref     config.Ref
		commit  string
		content string
	}{
		"head":          {config.Ref{}, second, "a: 2\n"},
		"branch":        {config.Ref{Branch: "main"}, second, "a: 2\n"},
		"tag":           {config.Ref{Tag: "light"}, first, "a: 1\n"},
		"annotated tag": {config.Ref{Tag: "v1"}, first, "a: 1\n"},
		"commit":        {config.Ref{Commit: first}, first, "a: 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			remote := Remote{URL: url, Ref: c.ref}
			got, err := Resolve(t.Context(), remote)
			if err != nil || got != c.commit {
				t.Fatalf("resolved to %s, %v; want %s", got, err, c.commit)
			}
			tree, err := cache.Open(t.Context(), remote, nil)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := fs.ReadFile(tree.FS(), "a.yaml")
			if err != nil || string(raw) != c.content || tree.Commit != c.commit {
				t.Errorf("commit %s, content %q, %v", tree.Commit, raw, err)
			}
			if annotated := c.ref.Tag == "v1"; annotated != (tree.Tag == tag) || !annotated && tree.Tag != "" {
				t.Errorf("by the tag %q", tree.Tag)
			}
			if err := fstest.TestFS(tree.FS(), "a.yaml", "deep/er/b.yaml"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAnAnnotatedTagIsFetchedAlone from a server that hands out only what a ref points to: else all branches would come with it.
func TestAnAnnotatedTagIsFetchedAlone(t *testing.T) {
	dir, first := newRepo(t, map[string]string{"a": "1"})
	gitCommand(t, dir, "tag", "-a", "-m", "v1", "v1")
	second := commit(t, dir, map[string]string{"a": "2"})
	tree, err := NewCache(t.TempDir()).Open(t.Context(), Remote{URL: gitServer(t, dir), Ref: config.Ref{Tag: "v1"}}, nil)
	if err != nil || tree.Commit != first {
		t.Fatalf("commit %v, %v", tree, err)
	}
	if tree.fs.sto.HasEncodedObject(plumbing.NewHash(second)) == nil {
		t.Error("a commit came that nobody asked for")
	}
}

// TestAServerThatWantsMultiACK gets it: Azure DevOps and AWS CodeCommit are such servers. One that does not offer it is not asked for it.
func TestAServerThatWantsMultiACK(t *testing.T) {
	dir, head := newRepo(t, map[string]string{"a": "1"})
	inner := backend(t, dir)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method == http.MethodPost && !strings.Contains(string(body), " multi_ack_detailed") {
			http.Error(w, "TF401041: Clients must support multi-ack.", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	tree, err := NewCache(t.TempDir()).Open(t.Context(), Remote{URL: srv.URL + "/ops/.git"}, nil)
	if err != nil || tree.Commit != head {
		t.Errorf("commit %v, %v", tree, err)
	}
	s, err := dial(t.Context(), Remote{URL: follow(t, dir).URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	refs, err := s.AdvertisedReferencesContext(t.Context())
	if err != nil || refs.Capabilities.Supports(capability.MultiACKDetailed) || refs.Capabilities.Supports(capability.MultiACK) {
		t.Errorf("multi_ack would be asked for, %v", err)
	}
}

// TestANameOfAnyBytesIsTaken: Git does not say in which encoding names are.
func TestANameOfAnyBytesIsTaken(t *testing.T) {
	dir, _ := newRepo(t, map[string]string{"docs/caf\xe9.yaml": "a: 1\n", "docs/übung.yaml": "b: 1\n"})
	tree, err := NewCache(t.TempDir()).Open(t.Context(), Remote{URL: gitServer(t, dir)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := fs.ReadFile(tree.FS(), "docs/caf\uFFFD.yaml")
	if err != nil || string(raw) != "a: 1\n" {
		t.Errorf("content %q, %v", raw, err)
	}
	if err := fstest.TestFS(tree.FS(), "docs/übung.yaml"); err != nil {
		t.Error(err)
	}
}

// TestEndlessFilesAreRefused: a few objects stand for more files than a machine can hold, or for a path without an end.
func TestEndlessFilesAreRefused(t *testing.T) {
	for _, c := range []struct{ levels, entries int }{{4, 100}, {longestPath, 1}} {
		objects := memoryObjects{}
		below, err := objects.put(plumbing.BlobObject, []byte("a: 1\n"))
		mode := filemode.Regular
		for range c.levels {
			if err != nil {
				t.Fatal(err)
			}
			folder := &object.Tree{}
			for i := range c.entries {
				folder.Entries = append(folder.Entries, object.TreeEntry{Name: strconv.Itoa(10 + i), Mode: mode, Hash: below})
			}
			sort.Sort(object.TreeEntrySorter(folder.Entries))
			below, err = objects.encode(folder)
			mode = filemode.Dir
		}
		if err != nil {
			t.Fatal(err)
		}
		commit, err := objects.encode(&object.Commit{TreeHash: below})
		if err != nil {
			t.Fatal(err)
		}
		_, err = newTree(overlay{memory.NewStorage(), objects}, commit)
		wantFault(t, explain(t.Context(), Remote{URL: "https://git.example.com/ops"}, err), fault.Usage, "Git repository https://git.example.com/ops", "more than 1048576 files")
	}
}

func TestACommitAtHandNeedsNoServer(t *testing.T) {
	dir, head := newRepo(t, map[string]string{"a": "1"})
	srv := httptest.NewServer(backend(t, dir))
	remote := Remote{URL: srv.URL + "/ops/.git"}
	cacheDir := t.TempDir()
	if _, err := NewCache(cacheDir).Open(t.Context(), remote, nil); err != nil {
		t.Fatal(err)
	}
	srv.Close()
	remote.Ref.Commit = head
	if _, err := NewCache(cacheDir).Open(t.Context(), remote, nil); err != nil {
		t.Fatal(err)
	}
	entries, err := filepath.Glob(filepath.Join(cacheDir, "*", "*"))
	if err != nil || len(entries) != 1 || filepath.Base(entries[0]) != head {
		t.Errorf("the cache holds %v, %v: want the commit alone", entries, err)
	}
}

func TestABrokenCacheIsFetchedAnew(t *testing.T) {
	dir, head := newRepo(t, map[string]string{"a": "1"})
	remote, cacheDir := Remote{URL: gitServer(t, dir)}, t.TempDir()
	cache := NewCache(cacheDir)
	if _, err := cache.Open(t.Context(), remote, nil); err != nil {
		t.Fatal(err)
	}
	packs, _ := filepath.Glob(filepath.Join(cacheDir, "*", head, "objects", "pack", "*"))
	if len(packs) == 0 {
		t.Fatal("no pack in the cache")
	}
	for _, p := range packs {
		if err := errors.Join(os.Chmod(p, 0o600), os.Truncate(p, 0)); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := cache.Open(t.Context(), remote, nil)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := fs.ReadFile(tree.FS(), "a"); err != nil || string(raw) != "1" {
		t.Errorf("content %q, %v", raw, err)
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	dir, _ := newRepo(t, map[string]string{"real/a": "1"})
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "leak")); err != nil {
		t.Fatal(err)
	}
	commit(t, dir, nil)
	tree, err := NewCache(t.TempDir()).Open(t.Context(), Remote{URL: gitServer(t, dir)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Stat(tree.FS(), "leak"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link is seen: %v", err)
	}
}

// wantFault checks kind and texts of a fault and its hints.
func wantFault(t *testing.T, err error, kind fault.Kind, texts ...string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Fatalf("kind %v of %v, want %v", fault.KindOf(err), err, kind)
	}
	all := fault.Text(err)
	for _, text := range texts {
		if !strings.Contains(all, text) {
			t.Errorf("want %q in:\n%s", text, all)
		}
	}
}

func TestFaultsOfAnAnsweringServer(t *testing.T) {
	dir, _ := newRepo(t, map[string]string{"a": "1"})
	gitCommand(t, dir, "branch", "release-1.2")
	url, cache := gitServer(t, dir), NewCache(t.TempDir())
	open := func(r Remote) error { _, err := cache.Open(t.Context(), r, nil); return err }

	wantFault(t, open(Remote{URL: url, Ref: config.Ref{Branch: "release-1.3"}}), fault.Usage, "no branch release-1.3", "release-1.2, main")
	wantFault(t, open(Remote{URL: url, Ref: config.Ref{Tag: "v1"}}), fault.Usage, "no tag v1", "no tags at all")
	wantFault(t, open(Remote{URL: url, Ref: config.Ref{Commit: strings.Repeat("1", 40)}}), fault.Usage, "no commit 1111", "spec.source.ref.commit")
	wantFault(t, open(Remote{URL: url, Ref: config.Ref{Commit: "abc123"}}), fault.Usage, "not a full commit id", "git rev-parse abc123")
	wantFault(t, open(Remote{URL: url + "x"}), fault.Failed, "does not exist, or is hidden", "spec.source.url")
	wantFault(t, open(Remote{URL: "file:///tmp"}), fault.Usage, "the protocol file is not supported", "--source-from")
}

func TestFaultsOfTheWay(t *testing.T) {
	dir, _ := newRepo(t, map[string]string{"a": "1"})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Resolve(t.Context(), Remote{URL: "http://" + dead + "/x.git"})
	wantFault(t, err, fault.Failed, "cannot be reached", "connection refused")
	if !fault.IsTransient(err) {
		t.Error("a refused connection may be tried again")
	}

	secure := httptest.NewTLSServer(backend(t, dir))
	t.Cleanup(secure.Close)
	url := secure.URL + "/ops/.git"
	_, err = Resolve(t.Context(), Remote{URL: url})
	wantFault(t, err, fault.Failed, "authority that is not trusted", "ca.crt")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if _, err = Resolve(t.Context(), Remote{URL: url, Auth: AuthFrom(map[string][]byte{"ca.crt": ca})}); err != nil {
		t.Errorf("with its authority: %v", err)
	}
}

// TestWhatAServerSaysOfItself: what passes is tried again, and no page of HTML is told.
func TestWhatAServerSaysOfItself(t *testing.T) {
	page := "<!DOCTYPE html>\n<html>" + strings.Repeat("<p>a page</p>\n", 1000)
	for status, c := range map[int]struct {
		text      string
		transient bool
	}{
		http.StatusServiceUnavailable: {"cannot answer now", true}, http.StatusTooManyRequests: {"cannot answer now", true},
		http.StatusNotFound: {"does not exist, or is hidden", false}, http.StatusForbidden: {"access was refused", false},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, page, status) }))
		_, err := Resolve(t.Context(), Remote{URL: srv.URL + "/ops.git"})
		srv.Close()
		wantFault(t, err, fault.Failed, c.text)
		if text := fault.Text(err); strings.Contains(text, "a page<") || len(text) > 600 {
			t.Errorf("%d: the page is in the text: %s", status, text)
		}
		if fault.IsTransient(err) != c.transient {
			t.Errorf("%d: transient %v", status, !c.transient)
		}
	}
	dir := t.TempDir()
	gitCommand(t, dir, "init", "-q", "--object-format=sha256", "-b", "main")
	commit(t, dir, map[string]string{"a": "1"})
	_, err := Resolve(t.Context(), Remote{URL: gitServer(t, dir)})
	wantFault(t, err, fault.Usage, "has SHA-256 objects, which neither Flux nor rekindle reads")
}

// TestEntriesThatFluxRefuses are refused before anything is built, also by a server that would take them.
func TestEntriesThatFluxRefuses(t *testing.T) {
	dir, _ := newRepo(t, map[string]string{"a": "1"})
	for want, data := range map[string]map[string]string{
		"the entry bearerToken of its key has a line end":        {"bearerToken": "t0ken\n"},
		"the entry password of its key has a line end":           {"username": "me", "password": "s3cret\r\n"},
		"the entry username of its key has a line end":           {"username": "me\n", "password": "s3cret"},
		"its key has the entry password without username: basic": {"password": "s3cret"},
	} {
		auth := Auth{Username: data["username"], Password: data["password"], BearerToken: data["bearerToken"]}
		_, err := Resolve(t.Context(), Remote{URL: gitServer(t, dir), Auth: auth})
		wantFault(t, err, fault.Usage, want, "hint:")
		if text := fault.Text(err); strings.Contains(text, "s3cret") || strings.Contains(text, "t0ken") {
			t.Errorf("the secret is in %s", text)
		}
	}
}

func TestAuth(t *testing.T) {
	dir, head := newRepo(t, map[string]string{"a": "1"})
	inner := backend(t, dir)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, basic := r.BasicAuth()
		if basic && user == "me" && password == "s3cret" || r.Header.Get("Authorization") == "Bearer t0ken" {
			inner.ServeHTTP(w, r)
			return
		}
		http.Error(w, "no", http.StatusUnauthorized)
	}))
	t.Cleanup(srv.Close)
	url := srv.URL + "/ops/.git"
	for _, data := range []map[string][]byte{
		{"username": []byte("me"), "password": []byte("s3cret")},
		{"bearerToken": []byte("t0ken")},
	} {
		tree, err := NewCache(t.TempDir()).Open(t.Context(), Remote{URL: url, Auth: AuthFrom(data)}, nil)
		if err != nil || tree.Commit != head {
			t.Errorf("%v", err)
		}
	}
	for _, data := range []map[string][]byte{nil, {"username": []byte("me"), "password": []byte("wr0ng")}} {
		_, err := Resolve(t.Context(), Remote{URL: url, Auth: AuthFrom(data)})
		wantFault(t, err, fault.Failed, "access was refused", "spec.source.auth")
		if strings.Contains(fault.Text(err), "wr0ng") {
			t.Error("the password is in the text")
		}
	}
}

// TestAStalledServerEndsWithItsContext: the server takes the connection and never answers.
// TestAServerThatWantsACertificate, beside which a password may be wanted, or not.
func TestAServerThatWantsACertificate(t *testing.T) {
	dir, head := newRepo(t, map[string]string{"a": "1"})
	cert, key := clientCertificate(t)
	srv := httptest.NewUnstartedServer(backend(t, dir))
	srv.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool(), MaxVersion: tls.VersionTLS12} // with 1.3 a refusal may be lost on its way
	srv.TLS.ClientCAs.AppendCertsFromPEM(cert)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	url := srv.URL + "/ops/.git"
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	tree, err := NewCache(t.TempDir()).Open(t.Context(), Remote{URL: url, Auth: AuthFrom(map[string][]byte{"ca.crt": ca, "tls.crt": cert, "tls.key": key})}, nil)
	if err != nil || tree.Commit != head {
		t.Errorf("%v", err)
	}
	other, otherKey := clientCertificate(t)
	for _, c := range []struct {
		cert, key []byte
		kind      fault.Kind
		text      string
	}{
		{other, otherKey, fault.Failed, "the server refuses access with client certificate: it wants a client's certificate that it trusts"},
		{cert, nil, fault.Usage, "only one of the entries tls.crt and tls.key"},
		{cert, otherKey, fault.Usage, "tls.crt and tls.key of its key are no certificate with its private key"},
		{cert, []byte("s3cret"), fault.Usage, "are no certificate with its private key"},
	} {
		_, err := Resolve(t.Context(), Remote{URL: url, Auth: AuthFrom(map[string][]byte{"ca.crt": ca, "tls.crt": c.cert, "tls.key": c.key})})
		wantFault(t, err, c.kind, "Git repository "+url, c.text)
		if strings.Contains(fault.Text(err), "s3cret") {
			t.Error("the key is in the text")
		}
	}
}

func TestAServerThatWantsACertificateSaysSoByHTTP(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { // as nginx does
		http.Error(w, "<html>\r\n<head><title>400 No required SSL certificate was sent</title></head>", http.StatusBadRequest)
	}))
	t.Cleanup(srv.Close)
	_, err := Resolve(t.Context(), Remote{URL: srv.URL + "/ops.git"})
	wantFault(t, err, fault.Failed, "the server refuses access with anonymous: it wants a client's certificate", "tls.crt and tls.key")
}

// TestARefusalWithoutAnEnd fills no memory: what it says is read only so far.
func TestARefusalWithoutAnEnd(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		for page := make([]byte, 1<<16); r.Context().Err() == nil; {
			if _, err := w.Write(page); err != nil {
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	_, err := Resolve(t.Context(), Remote{URL: srv.URL + "/ops.git"})
	wantFault(t, err, fault.Failed, "cannot answer now", "502")
}

// clientCertificate makes a certificate that signs itself, and its key.
func clientCertificate(t *testing.T) (cert, key []byte) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	raw, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: rawKey})
}

func TestAStalledServerEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for _, scheme := range []string{"http://", "ssh://git@"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		remote := Remote{URL: scheme + l.Addr().String() + "/x.git"}
		if scheme != "http://" {
			remote.Auth = sshAuth(t, newKey(t), "")
		}
		_, err := Resolve(ctx, remote)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

// TestAForcePushBetweenListAndFetch: the commit is gone when the pack is asked for.
func TestAForcePushBetweenListAndFetch(t *testing.T) {
	dir, _ := newRepo(t, map[string]string{"a": "1"})
	inner := backend(t, dir)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			write(t, dir, map[string]string{"a": "2"})
			gitCommand(t, dir, "commit", "-qa", "--amend", "-m", "rewritten")
			gitCommand(t, dir, "reflog", "expire", "--expire=now", "--all")
			gitCommand(t, dir, "gc", "-q", "--prune=now")
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	cacheDir := t.TempDir()
	_, err := NewCache(cacheDir).Open(t.Context(), Remote{URL: srv.URL + "/ops/.git", Ref: config.Ref{Branch: "main"}}, nil)
	wantFault(t, err, fault.Failed, "has no commit", "moved while it was read")
	if !fault.IsTransient(err) {
		t.Error("a moved branch may be tried again")
	}
	if left, _ := filepath.Glob(filepath.Join(cacheDir, "*", "*")); len(left) != 0 {
		t.Errorf("left in the cache: %v", left)
	}
}

func TestAuthDoesNotPrintItself(t *testing.T) {
	a := AuthFrom(map[string][]byte{"username": []byte("me"), "password": []byte("s3cret"), "identity": []byte("s3cret"), "tls.key": []byte("s3cret")})
	for _, text := range printed(t, a) {
		if strings.Contains(text, "s3cret") || strings.Contains(text, "115, 51") {
			t.Errorf("printed as %s", text)
		}
	}
	r := Remote{URL: "https://me:s3cret@host/x.git"}
	if strings.Contains(r.name(), "s3cret") {
		t.Errorf("named %s", r.name())
	}
	for _, user := range []string{"s3cret", "me:s3cret", "s3cret:x-oauth-basic", "me:100%s3cret"} { // a token may be the user
		_, err := Resolve(t.Context(), Remote{URL: "http://" + user + "@127.0.0.1:1/x.git"})
		if text := fault.Text(err); strings.Contains(text, "s3cret") || !strings.Contains(text, "http://127.0.0.1:1/x.git") {
			t.Errorf("told as %s", text)
		}
	}
}

func TestAFileThatIsTooLargeIsNotRead(t *testing.T) {
	tree := &treeFS{nodes: map[string]*node{"a": {name: "a", size: largestFile + 1}}}
	if _, err := fs.ReadFile(tree, "a"); err == nil || !strings.Contains(err.Error(), "read a: it has 104857601 bytes") {
		t.Error(err)
	}
}
