package gitrepo

import (
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

const (
	maxRequest   = 16 << 20 // of what a client says it has and wants
	closeTimeout = 2 * time.Second
)

// notInURL is what is taken out of a folder's name before it is part of a URL.
var notInURL = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// Server serves a folder as a repository, read-only, over git's smart HTTP.
type Server struct {
	folder *Folder
	name   string
	secret string

	http  *http.Server
	serve sync.WaitGroup

	mu        sync.Mutex
	urls      map[string]string // by host
	announced *view             // what a folder of plain files was last seen to hold
}

// Serve starts to serve on an address, "127.0.0.1:0" being any free port that only this machine
// reaches. It ends with Close, or when ctx does.
//
// The path of the URL has a random part, so that who reaches the port but was not given the URL
// reads nothing.
func Serve(ctx context.Context, folder *Folder, addr string) (*Server, error) {
	var random [12]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, fmt.Errorf("make a secret path: %w", err)
	}
	abs, err := filepath.Abs(folder.dir)
	if err != nil {
		return nil, err
	}
	name := strings.Trim(notInURL.ReplaceAllString(strings.TrimSuffix(filepath.Base(abs), ".git"), "-"), "-.")
	if name == "" {
		name = "repository"
	}
	s := &Server{folder: folder, name: name + ".git", secret: hex.EncodeToString(random[:]), urls: map[string]string{}}
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: dialTimeout, IdleTimeout: idleTimeout,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = s.http.Close() })
	s.http.RegisterOnShutdown(func() { stop() })
	if _, err := s.listen(ctx, addr); err != nil {
		stop()
		return nil, err
	}
	return s, nil
}

// URL is where the first address given to Serve is reached.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.urls[""]
}

// ListenOn serves on a further address of this machine, on any free port, and returns the URL there.
// An address that is served already keeps its URL.
func (s *Server) ListenOn(ctx context.Context, host string) (string, error) {
	s.mu.Lock()
	url := s.urls[host]
	s.mu.Unlock()
	if url != "" {
		return url, nil
	}
	return s.listen(ctx, net.JoinHostPort(host, "0"))
}

func (s *Server) listen(ctx context.Context, addr string) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return "", fault.Wrap(err, fault.Failed, "listen on %s", addr).On("served repository").
			WithHint("give an address of this machine and a port that is free")
	}
	s.serve.Go(func() { _ = s.http.Serve(l) }) // it always ends with an error, on Close with the one that says so
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", errors.Join(err, l.Close())
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return "", errors.Join(err, l.Close())
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	url := fmt.Sprintf("http://%s/%s/%s", net.JoinHostPort(host, port), s.secret, s.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.urls[host] = url
	if s.urls[""] == "" {
		s.urls[""] = url
	}
	return url, nil
}

// Close stops serving: what is being read is given a moment to end, and nothing is left running.
func (s *Server) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	s.serve.Wait()
	return err
}

// ServeHTTP answers the two requests of a fetch and refuses everything else.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, ok := s.route(r.URL.Path)
	service := r.URL.Query().Get("service")
	switch {
	case !ok:
		http.NotFound(w, r)
	case rest == "git-receive-pack" || service == transport.ReceivePackServiceName:
		http.Error(w, "this repository is read-only", http.StatusForbidden)
	case r.Method == http.MethodGet && rest == "info/refs" && service == transport.UploadPackServiceName:
		s.advertise(r.Context(), w)
	case r.Method == http.MethodPost && rest == transport.UploadPackServiceName:
		s.uploadPack(w, r)
	default:
		http.Error(w, "only git's smart HTTP is spoken here", http.StatusForbidden)
	}
}

// route takes the secret and the name off a path.
func (s *Server) route(p string) (string, bool) {
	parts := strings.SplitN(strings.TrimPrefix(p, "/"), "/", 3)
	if len(parts) != 3 || subtle.ConstantTimeCompare([]byte(parts[0]), []byte(s.secret)) != 1 {
		return "", false
	}
	return parts[2], parts[1] == s.name
}

func (s *Server) advertise(ctx context.Context, w http.ResponseWriter) {
	v, err := s.folder.look(ctx)
	if err != nil {
		http.Error(w, "the repository cannot be read: "+err.Error(), http.StatusInternalServerError)
		return
	}
	refs, err := v.advertised()
	if err != nil {
		http.Error(w, "the repository cannot be read: "+err.Error(), http.StatusInternalServerError)
		return
	}
	s.mu.Lock()
	s.announced = v
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
	w.Header().Set("Cache-Control", "no-cache")
	refs.Prefix = [][]byte{[]byte("# service=" + transport.UploadPackServiceName), pktline.Flush}
	_ = refs.Encode(w) // whoever asked is gone if this fails
}

func (s *Server) uploadPack(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(http.MaxBytesReader(w, r.Body, maxRequest))
	if r.Header.Get("Content-Encoding") == "gzip" {
		zip, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, "not gzip: "+err.Error(), http.StatusBadRequest)
			return
		}
		body = io.LimitReader(zip, maxRequest)
	}
	req, err := parseUpload(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
	w.Header().Set("Cache-Control", "no-cache")
	v, err := s.current(r.Context())
	if err == nil {
		err = v.answer(r.Context(), req, w)
	}
	if err != nil {
		_ = pktline.NewEncoder(w).Encodef("ERR upload-pack: %s", err) // in the pack's place, or the stream is broken anyway
	}
}

// current is what wants are answered from. A folder of plain files is taken as it was announced, so
// that a change between the two requests of a fetch does not break it.
func (s *Server) current(ctx context.Context) (*view, error) {
	if s.folder.git {
		return s.folder.look(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.announced == nil {
		return s.folder.look(ctx)
	}
	return s.announced, nil
}
