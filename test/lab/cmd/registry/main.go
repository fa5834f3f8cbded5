// Command registry is the lab's OCI registry: the handler of go-containerregistry, with blobs and manifests kept in a folder.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: registry ADDRESS FOLDER")
		os.Exit(2)
	}
	h, err := open(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
	if err := http.ListenAndServe(os.Args[1], h); err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

// kept adds to a registry, which keeps manifests in memory, that they survive it: each is
// written to a file as it is pushed, and pushed again at the start.
type kept struct {
	http.Handler
	dir string
	mu  sync.Mutex
}

// manifest is one file.
type manifest struct {
	Path string
	Type string
	Body []byte
}

func open(dir string) (http.Handler, error) {
	for _, sub := range []string{"blobs", "manifests"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	k := &kept{dir: filepath.Join(dir, "manifests"), Handler: registry.New(
		registry.WithBlobHandler(registry.NewDiskBlobHandler(filepath.Join(dir, "blobs"))),
		registry.Logger(log.New(io.Discard, "", 0)))}
	files, err := filepath.Glob(filepath.Join(k.dir, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var m manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if code := k.push(m); code >= 300 {
			return nil, fmt.Errorf("%s: the manifest is refused with status %d", file, code)
		}
	}
	return k, nil
}

// answer keeps a response, to be looked at before it is sent.
type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func newAnswer() *answer { return &answer{header: http.Header{}, code: http.StatusOK} }

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(code int)        { a.code = code }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// push puts a kept manifest into the registry, and gives the status of the answer.
func (k *kept) push(m manifest) int {
	req := &http.Request{Method: http.MethodPut, URL: &url.URL{Path: m.Path}, Header: http.Header{"Content-Type": {m.Type}},
		Body: io.NopCloser(bytes.NewReader(m.Body)), ContentLength: int64(len(m.Body))}
	res := newAnswer()
	k.Handler.ServeHTTP(res, req)
	return res.code
}

func (k *kept) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/") {
		k.Handler.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	res := newAnswer()
	k.Handler.ServeHTTP(res, r)
	if res.code < 300 {
		if err := k.keep(manifest{r.URL.Path, r.Header.Get("Content-Type"), body}); err != nil {
			http.Error(w, err.Error(), http.StatusInsufficientStorage)
			return
		}
	}
	maps.Copy(w.Header(), res.header)
	w.WriteHeader(res.code)
	_, _ = w.Write(res.body.Bytes())
}

func (k *kept) keep(m manifest) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	name := filepath.Join(k.dir, strings.NewReplacer("/", "_", ":", "_").Replace(m.Path)+".json")
	if err := os.WriteFile(name+".tmp", raw, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}
