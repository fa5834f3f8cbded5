package assets

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

const script = "#!/bin/sh\necho fetched\n"

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// site serves release files over https and counts what is asked for.
type site struct {
	*httptest.Server
	hits atomic.Int32
}

func newSite(t *testing.T, pages map[string]http.HandlerFunc) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		if page := pages[r.URL.Path]; page != nil {
			page(w, r)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func text(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
}

// cacheFor is an empty cache that trusts the site.
func cacheFor(t *testing.T, s *site) *Cache {
	t.Helper()
	t.Setenv(EnvMirror, "")
	c, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c.Client = s.Client()
	c.pause = time.Millisecond
	return c
}

func tgz(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	gz := gzip.NewWriter(&buf)
	tw := tar.NewWriter(gz)
	for name, body := range files {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(body)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// run runs a program and gives what it prints.
func run(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command(path).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", path, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestFetchChecksThePublishedSum(t *testing.T) {
	archive := tgz(t, map[string]string{"tool-v1/README": "x", "tool-v1/tool": script})
	s := newSite(t, map[string]http.HandlerFunc{
		"/v1/tool":         text([]byte(script)),
		"/v1/tool.sha256":  text([]byte(sumOf([]byte(script)))),
		"/v1/tool.tar.gz":  text(archive),
		"/v1/SHA256SUMS":   text([]byte(sumOf([]byte("x")) + "  other.tar.gz\n" + sumOf(archive) + "  tool.tar.gz\n")),
		"/v1/SHA256SUMS-2": text([]byte(sumOf([]byte("x")) + "  other.tar.gz\n")),
	})
	for name, r := range map[string]Release{
		"sum alone":  {URL: s.URL + "/v1/tool", Sums: s.URL + "/v1/tool.sha256"},
		"pinned":     {URL: s.URL + "/v1/tool", SHA256: strings.ToUpper(sumOf([]byte(script)))},
		"sums, tgz":  {URL: s.URL + "/v1/tool.tar.gz", Sums: s.URL + "/v1/SHA256SUMS", Member: "tool-v1/tool"},
		"pinned tgz": {URL: s.URL + "/v1/tool.tar.gz", SHA256: sumOf(archive), Member: "tool-v1/tool"},
	} {
		t.Run(name, func(t *testing.T) {
			c := cacheFor(t, s)
			a := Asset{Name: "tool", Version: "v1", Release: &r}
			path, err := c.Get(t.Context(), a, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := run(t, path); got != "fetched" {
				t.Errorf("it prints %q", got)
			}
			before := s.hits.Load()
			if again, err := c.Get(t.Context(), a, nil); err != nil || again != path || s.hits.Load() != before {
				t.Errorf("the second time: %s, %v, %d requests", again, err, s.hits.Load()-before)
			}
		})
	}
	t.Run("sum not listed", func(t *testing.T) {
		_, err := cacheFor(t, s).Get(t.Context(), Asset{Name: "tool", Version: "v1", Module: &hello,
			Release: &Release{URL: s.URL + "/v1/tool.tar.gz", Sums: s.URL + "/v1/SHA256SUMS-2"}}, nil)
		if err == nil || !strings.Contains(err.Error(), "holds no SHA-256 of tool.tar.gz") {
			t.Errorf("got %v", err)
		}
	})
}

func TestWrongSumIsNeverBuiltAround(t *testing.T) {
	s := newSite(t, map[string]http.HandlerFunc{"/hello": text([]byte("tampered"))})
	c := cacheFor(t, s)
	a := Asset{Name: "hello", Version: "v1", Module: &hello, Release: &Release{URL: s.URL + "/hello", SHA256: sumOf([]byte(script))}}
	_, err := c.Get(t.Context(), a, nil)
	if err == nil || !strings.Contains(err.Error(), "was expected") || len(fault.Hints(err)) == 0 {
		t.Errorf("got %v", err)
	}
	if c.Have(a) != "" {
		t.Errorf("the cache holds %s", c.Have(a))
	}
}

func TestWhatCanNotBeReachedIsBuilt(t *testing.T) {
	needGo(t)
	body := []byte(strings.Repeat("x", 1<<20))
	s := newSite(t, map[string]http.HandlerFunc{
		"/truncated": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = w.Write(body[:1000])
		},
		"/stalled": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = w.Write(body[:1000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	})
	gone := newSite(t, nil)
	gone.Close()
	const brief, long = 200 * time.Millisecond, time.Minute
	for name, c := range map[string]struct {
		url, why string
		stall    time.Duration
	}{
		"missing":      {s.URL + "/missing", "404", long},
		"truncated":    {s.URL + "/truncated", "unexpected EOF", long},
		"stalled":      {s.URL + "/stalled", "nothing came for 200ms", brief},
		"no such host": {gone.URL + "/x", "refused", long},
	} {
		t.Run(name, func(t *testing.T) {
			cache, notes := cacheFor(t, s), ""
			cache.Stall = c.stall
			path, err := cache.Get(t.Context(), Asset{Name: "hello", Version: "v1", Module: &hello,
				Release: &Release{URL: c.url, SHA256: sumOf(body)}}, func(u plan.Update) { notes += u.Note + "\n" })
			if err != nil {
				t.Fatal(err)
			}
			if got := run(t, path); got != "built" {
				t.Errorf("it prints %q", got)
			}
			if !strings.Contains(notes, "building it from source") || !strings.Contains(notes, c.why) {
				t.Errorf("notes %q, want the reason %q", notes, c.why)
			}
		})
	}
}

func TestWhenNothingWorksBothReasonsAreSaid(t *testing.T) {
	s := newSite(t, nil)
	c := cacheFor(t, s)
	c.Go = "no-such-go-command"
	_, err := c.Get(t.Context(), Asset{Name: "hello", Version: "v1", Module: &hello,
		Release: &Release{URL: s.URL + "/missing", SHA256: sumOf(nil)}}, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"404", "no-such-go-command", "hello v1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if hints := strings.Join(fault.Hints(err), "\n"); !strings.Contains(hints, "install Go") || !strings.Contains(hints, EnvMirror) {
		t.Errorf("hints %q", hints)
	}
}

// TestAFileIsAskedForAgain: what may pass is waited for, and a host that never answers is left alone after some tries.
func TestAFileIsAskedForAgain(t *testing.T) {
	var asked atomic.Int32
	s := newSite(t, map[string]http.HandlerFunc{"/tool": func(w http.ResponseWriter, _ *http.Request) {
		switch asked.Add(1) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(script)) // and no more
		default:
			_, _ = w.Write([]byte(script))
		}
	}})
	a := Asset{Name: "tool", Version: "v1", Release: &Release{URL: s.URL + "/tool", SHA256: sumOf([]byte(script))}}
	if path, err := cacheFor(t, s).Get(t.Context(), a, nil); err != nil || run(t, path) != "fetched" {
		t.Errorf("%s, %v after %d requests", path, err, asked.Load())
	}

	var dialled atomic.Int32
	c := cacheFor(t, s)
	c.Client = &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		dialled.Add(1)
		return nil, errors.New("a packet is lost")
	}}}
	for round := int32(1); round <= 2; round++ {
		if _, err := c.Get(t.Context(), a, nil); !fault.IsTransient(err) || dialled.Load() != round*tries {
			t.Errorf("after %d tries: %v", dialled.Load(), err)
		}
	}
	a.Release = &Release{URL: s.URL + "/missing", SHA256: sumOf(nil)}
	if _, err := cacheFor(t, s).Get(t.Context(), a, nil); err == nil || fault.IsTransient(err) {
		t.Errorf("of what is not there: %v", err)
	}
}

// TestThePasswordOfTheMirrorIsNotTold, whatever goes wrong with it.
func TestThePasswordOfTheMirrorIsNotTold(t *testing.T) {
	s := newSite(t, map[string]http.HandlerFunc{"/broken/dl.example.invalid/tool": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
	}})
	at := strings.TrimPrefix(s.URL, "https://")
	for _, mirror := range []string{
		"https://me:geheim@" + at + "/missing", "https://me:geheim@" + at + "/broken", "http://me:geheim@" + at, "https://me:geheim@127.0.0.1:1/",
		"me:geheim@" + at, "https://me:geheim@%zz/",
	} {
		c := cacheFor(t, s)
		c.Mirror = mirror
		_, err := c.Get(t.Context(), Asset{Name: "tool", Version: "v1", Release: &Release{URL: "https://dl.example.invalid/tool", SHA256: sumOf(nil)}}, nil)
		if text := fault.Text(err); err == nil || strings.Contains(text, "geheim") {
			t.Errorf("%s: %s", mirror, text)
		}
	}
}

func TestMirror(t *testing.T) {
	s := newSite(t, map[string]http.HandlerFunc{"/rel/dl.example.invalid/v1/tool": text([]byte(script))})
	c := cacheFor(t, s)
	a := Asset{Name: "tool", Version: "v1", Release: &Release{URL: "https://dl.example.invalid/v1/tool", SHA256: sumOf([]byte(script))}}
	c.Mirror = MirrorOff
	if _, err := c.Get(t.Context(), a, nil); err == nil || s.hits.Load() != 0 {
		t.Errorf("switched off: %v, %d requests", err, s.hits.Load())
	}
	c.Mirror = "http" + strings.TrimPrefix(s.URL, "https") + "/rel"
	if _, err := c.Get(t.Context(), a, nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("plain http: %v", err)
	}
	c.Mirror = s.URL + "/rel"
	if path, err := c.Get(t.Context(), a, nil); err != nil || run(t, path) != "fetched" {
		t.Errorf("%s, %v", path, err)
	}
}

func TestFetchedOnceByMany(t *testing.T) {
	s := newSite(t, map[string]http.HandlerFunc{"/tool": text([]byte(script))})
	first := cacheFor(t, s)
	a := Asset{Name: "tool", Version: "v1", Release: &Release{URL: s.URL + "/tool", SHA256: sumOf([]byte(script))}}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c, err := Open(first.Dir) // one for each, as separate processes have
			if err != nil {
				t.Error(err)
				return
			}
			c.Client = first.Client
			if path, err := c.Get(t.Context(), a, nil); err != nil || !isFile(path) {
				t.Errorf("%s, %v", path, err)
			}
		})
	}
	wg.Wait()
	if n := s.hits.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestCancelledFetchIsNeitherBuiltNorKept(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newSite(t, map[string]http.HandlerFunc{"/hello": func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}})
	c := cacheFor(t, s)
	a := Asset{Name: "hello", Version: "v1", Module: &hello, Release: &Release{URL: s.URL + "/hello", SHA256: sumOf(nil)}}
	if _, err := c.Get(ctx, a, nil); !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Interrupted {
		t.Errorf("got %v", err)
	}
	if c.Have(a) != "" {
		t.Error("it was kept or built")
	}
	left, err := os.ReadDir(c.Dir + "/work")
	if err != nil || len(left) != 0 {
		t.Errorf("scratch left: %v, %v", left, err)
	}
}

// TestNothingIsFetchedInTheOpen: a file that comes over http can be exchanged on its way, and its sum with it. It is not
// built in its stead: somebody should know.
func TestNothingIsFetchedInTheOpen(t *testing.T) {
	open := httptest.NewServer(text([]byte(script)))
	t.Cleanup(open.Close)
	s := newSite(t, map[string]http.HandlerFunc{
		"/open":      func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, open.URL, http.StatusFound) },
		"/elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/file", http.StatusFound) },
		"/file":      text([]byte(script)),
		"/sum":       text([]byte(sumOf([]byte(script)))),
		"/round":     func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) },
	})
	get := func(file, sum string) error {
		_, err := cacheFor(t, s).Get(t.Context(), Asset{Name: "tool", Version: "v1", Release: &Release{URL: s.URL + file, Sums: s.URL + sum}}, nil)
		return err
	}
	for _, way := range [][2]string{{"/open", "/sum"}, {"/file", "/open"}} {
		if err := get(way[0], way[1]); fault.KindOf(err) != fault.Failed || !strings.Contains(fault.Text(err), "which is not https") {
			t.Errorf("%s by %s: %v", way[0], way[1], err)
		}
	}
	if err := get("/elsewhere", "/sum"); err != nil {
		t.Errorf("sent on over https: %v", err)
	}
	before := s.hits.Load()
	if err := get("/file", "/round"); err == nil || s.hits.Load()-before != mostRedirects {
		t.Errorf("sent round in circles, with %d requests: %v", s.hits.Load()-before, err)
	}
}
