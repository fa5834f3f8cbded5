// Package rest serves a folder as a restic repository over restic's REST protocol, version 2:
// https://restic.readthedocs.io/en/stable/REST_backend.html. The folder is laid out as restic's local backend
// does, so that restic can open it without this server too.
package rest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// mediaType is that of lists which tell sizes.
const mediaType = "application/vnd.x.restic.rest.v2"

// Names of the user, and of the one file that is in no folder.
const (
	user       = "rekindle"
	configFile = "config"
)

// Server serves one folder to those who know its password.
type Server struct {
	dir      string
	password string
	address  string
	http     *http.Server
	ended    chan struct{} // closed when it serves no more
	err      error         // why, once ended is closed
}

// Serve listens on an address, whose port may be 0, until Close is called or the context is done.
func Serve(ctx context.Context, dir, address string) (*Server, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, password: rand.Text(), address: l.Addr().String(), ended: make(chan struct{})}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 30 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.http.Close() })
	go func() {
		defer close(s.ended)
		defer stop()
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.err = err
		}
	}()
	return s, nil
}

// Repository is the URL for restic. It holds the password: it belongs into an environment, never into an argument.
func (s *Server) Repository() string {
	return "rest:" + (&url.URL{Scheme: "http", User: url.UserPassword(user, s.password), Host: s.address, Path: "/"}).String()
}

// Close ends the server, also for those who are being answered, and returns when it has ended. It may be repeated.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.ended
	return errors.Join(err, s.err)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, password, _ := r.BasicAuth()
	if subtle.ConstantTimeCompare([]byte(name+":"+password), []byte(user+":"+s.password)) != 1 {
		w.Header().Set("WWW-Authenticate", `Basic realm="restic"`)
		http.Error(w, "wrong user or password", http.StatusUnauthorized)
		return
	}
	if err := s.answer(w, r); err != nil {
		fail(w, err)
	}
}

// statusError is an answer that is no success.
type statusError int

func (e statusError) Error() string { return http.StatusText(int(e)) }

func fail(w http.ResponseWriter, err error) {
	var status statusError
	switch {
	case errors.As(err, &status):
		http.Error(w, status.Error(), int(status))
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, "not found", http.StatusNotFound)
	case errors.Is(err, syscall.ENOSPC):
		http.Error(w, "no space left", http.StatusInsufficientStorage)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) error {
	folder, name, list, ok := split(r.URL.Path)
	switch {
	case !ok:
		return statusError(http.StatusNotFound)
	case folder == "" && name == "":
		if r.Method == http.MethodPost && r.URL.Query().Get("create") == "true" {
			return s.create()
		}
	case list && r.Method == http.MethodGet:
		return s.list(w, r, folder)
	case list:
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return s.get(w, r, folder, name)
	case r.Method == http.MethodPost:
		return s.save(r, folder, name)
	case r.Method == http.MethodDelete:
		return os.Remove(s.path(folder, name))
	}
	return statusError(http.StatusMethodNotAllowed)
}

// folders are those of a repository.
func folders() []string { return []string{"data", "index", "keys", "locks", "snapshots"} }

// split takes a path apart: "/", "/config", "/data/" or "/data/<64 hex digits>". Nothing else is one.
func split(path string) (folder, name string, list, ok bool) {
	path = strings.TrimPrefix(path, "/")
	if path == "" || path == configFile {
		return "", path, false, true
	}
	folder, name, _ = strings.Cut(path, "/")
	if !slices.Contains(folders(), folder) {
		return "", "", false, false
	}
	if name == "" {
		return folder, "", true, true
	}
	sum, err := hex.DecodeString(name)
	return folder, name, false, err == nil && len(sum) == sha256.Size
}

func (s *Server) path(folder, name string) string {
	if folder == "data" {
		return filepath.Join(s.dir, folder, name[:2], name)
	}
	return filepath.Join(s.dir, folder, name)
}

func (s *Server) create() error {
	for _, folder := range folders() {
		if err := os.MkdirAll(filepath.Join(s.dir, folder), 0o700); err != nil {
			return err
		}
	}
	for i := range 256 {
		if err := os.MkdirAll(filepath.Join(s.dir, "data", fmt.Sprintf("%02x", i)), 0o700); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, folder, name string) error {
	f, err := os.Open(s.path(folder, name))
	if err != nil {
		return err
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, f) // with ranges
	return nil
}

// save writes a file whole or not at all. But for the config, its name is the SHA-256 of its content.
func (s *Server) save(r *http.Request, folder, name string) (err error) {
	path := s.path(folder, name)
	if _, err := os.Lstat(path); err == nil {
		return saved(r, folder, name)
	}
	f, err := s.temporary(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), r.Body); err != nil {
		return err
	}
	if folder != "" && hex.EncodeToString(h.Sum(nil)) != name {
		return statusError(http.StatusBadRequest) // cut short or changed on its way
	}
	if err := errors.Join(f.Sync(), f.Chmod(0o400)); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// temporary begins a file in a folder of the repository, which is made where it is missing, as restic itself does: not all that
// copies a repository copies empty folders. The repository's own is not: a disk that was taken away would be filled elsewhere.
func (s *Server) temporary(dir string) (*os.File, error) {
	const pattern = ".tmp-*"
	f, err := os.CreateTemp(dir, pattern)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if _, gone := os.Stat(s.dir); gone != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.CreateTemp(dir, pattern)
}

// saved answers who brings a file that is there. Nothing is ever replaced; but one who brings what its name says has
// brought it before, and the answer was lost on its way.
func saved(r *http.Request, folder, name string) error {
	h := sha256.New()
	if _, err := io.Copy(h, r.Body); err != nil {
		return err
	}
	if folder == "" || hex.EncodeToString(h.Sum(nil)) != name {
		return statusError(http.StatusForbidden)
	}
	return nil
}

// list tells names and sizes.
func (s *Server) list(w http.ResponseWriter, r *http.Request, folder string) error {
	type entry struct {
		Name string `json:"name"`
		Size int64  `json:"size"`
	}
	entries := []entry{}
	err := filepath.WalkDir(filepath.Join(s.dir, folder), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed just now
		}
		if err == nil {
			entries = append(entries, entry{d.Name(), info.Size()})
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if r.Header.Get("Accept") != mediaType {
		return statusError(http.StatusNotAcceptable) // version 1 is of restic before 0.9
	}
	w.Header().Set("Content-Type", mediaType)
	return json.NewEncoder(w).Encode(entries)
}
