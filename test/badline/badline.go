// Package badline is a line to a server that breaks in the ways that lines break: it is cut in the middle of a file and
// comes back, it changes a bit, what is behind it refuses from one moment to the next. It lets tests do so to real
// programs, which know of nothing.
package badline

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Line passes requests of HTTP on, and counts what passes.
type Line struct {
	address string

	mu     sync.Mutex
	passed int64
	at     int64 // bytes after which then is done, once
	then   func()
	cut    time.Time // until when nothing passes
	shut   bool      // nothing passes
	status int       // which answers everything; 0: none
	flips  int       // bodies of which a bit is still to be changed
}

// New makes a line to a server, which listens on an address until the test ends; its port may be 0.
func New(t testing.TB, server, listen string) *Line {
	t.Helper()
	to, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	at, err := net.Listen("tcp", listen) //nolint:noctx // it ends with the test
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{address: at.Addr().String()}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = to.Scheme, to.Host, to.Host
		},
		ModifyResponse: func(r *http.Response) error {
			r.Body = &body{ReadCloser: r.Body, line: l, big: r.ContentLength > bigBody}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	front := &http.Server{Handler: l.before(proxy), ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = front.Serve(at) }) // until it is closed
	t.Cleanup(func() {
		_ = front.Close()
		serving.Wait()
	})
	return l
}

// before refuses what does not pass, and counts what does.
func (l *Line) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		status, down := l.status, l.down()
		l.mu.Unlock()
		switch {
		case down:
			panic(http.ErrAbortHandler) // closes the connection
		case status != 0:
			_, _ = io.Copy(io.Discard, r.Body) // who is still sending would not see the answer
			http.Error(w, http.StatusText(status), status)
			return
		}
		r.Body = &body{ReadCloser: r.Body, line: l, big: r.ContentLength > bigBody}
		next.ServeHTTP(w, r)
	})
}

// Through gives the URL of the server by way of the line, with the user and password that it had.
func (l *Line) Through(server string) string {
	scheme, rest, _ := strings.Cut(server, "://")
	user, host, found := strings.Cut(rest, "@")
	if !found {
		user, host = "", rest
	} else {
		user += "@"
	}
	_, path, _ := strings.Cut(host, "/")
	return scheme + "://" + user + l.address + "/" + path
}

// Passed is how many bytes of bodies have passed, in both directions.
func (l *Line) Passed() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passed
}

// CutAfter cuts the line for some time when so many more bytes have passed.
func (l *Line) CutAfter(bytes int64, pause time.Duration) {
	l.after(bytes, func() { l.cut = time.Now().Add(pause) })
}

// RefuseAfter has everything answered with a status when so many more bytes have passed. Accept ends it.
func (l *Line) RefuseAfter(bytes int64, status int) { l.after(bytes, func() { l.status = status }) }

func (l *Line) after(bytes int64, then func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at, l.then = l.passed+bytes, then
}

// Cut lets nothing pass until Accept.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = true
}

// Accept lets everything pass as it is.
func (l *Line) Accept() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status, l.flips, l.then, l.shut, l.cut = 0, 0, nil, false, time.Time{}
}

// bigBody is the size of a body above which it is data, and no description of it.
const bigBody = 256 << 10

// Flip changes a bit in each of the next so many bodies with data that pass.
func (l *Line) Flip(files int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flips = files
}

// Flips is how many are still to be changed.
func (l *Line) Flips() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flips
}

func (l *Line) down() bool { return l.shut || time.Now().Before(l.cut) }

var errCut = errors.New("the line is cut")

// body is what passes of one request or answer.
type body struct {
	io.ReadCloser
	line    *Line
	big     bool
	flipped bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	l := b.line
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passed += int64(n)
	if l.then != nil && l.passed >= l.at {
		l.then()
		l.then = nil
	}
	if l.down() {
		return 0, errCut
	}
	if b.big && !b.flipped && l.flips > 0 && n > 0 {
		p[n/2] ^= 1
		b.flipped = true
		l.flips--
	}
	return n, err
}
