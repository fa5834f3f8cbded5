package gitrepo

import (
	"context"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

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
	a := AuthFrom(map[string][]byte{"username": []byte("me"), "password": []byte("s3cret"), "identity": []byte("s3cret")})
	for _, text := range printed(t, a) {
		if strings.Contains(text, "s3cret") || strings.Contains(text, "115, 51") {
			t.Errorf("printed as %s", text)
		}
	}
	r := Remote{URL: "https://me:s3cret@host/x.git"}
	if strings.Contains(r.name(), "s3cret") {
		t.Errorf("named %s", r.name())
	}
}
