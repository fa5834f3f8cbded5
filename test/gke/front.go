package gke

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// front stands before a control plane and takes tokens, as GKE's API servers do. It has two names with two
// certificates: its address, signed by the cluster's CA, and "localhost", which plays the DNS endpoint and
// is signed by the CA that everybody trusts.
type front struct {
	port   int
	server *http.Server
	done   chan struct{}
}

// openFront listens on a port; 0 is any.
func openFront(port int, config *rest.Config, clusterCA, publicCA *ca, tokens *authority, script *script, version string) (*front, error) {
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	own, err := clusterCA.serving()
	if err != nil {
		return nil, err
	}
	public, err := publicCA.serving()
	if err != nil {
		return nil, err
	}
	listener, err := listenOn(port)
	if err != nil {
		return nil, err
	}
	upgrade, err := overHTTP1(config)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Authorization")
		},
		Transport: upgrading{transport, upgrade}, FlushInterval: -1, ModifyResponse: renameVersion(version),
	}
	f := &front{port: listener.Addr().(*net.TCPAddr).Port, done: make(chan struct{})}
	f.server = &http.Server{
		Handler: authenticated(scripted(proxy, script), tokens), ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet(),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				if hello.ServerName == "localhost" {
					return public, nil
				}
				return own, nil
			},
		},
	}
	go func() {
		defer close(f.done)
		_ = f.server.ServeTLS(listener, "", "")
	}()
	return f, nil
}

// upgrading sends requests that change the protocol, as exec and port-forward do, over HTTP/1: HTTP/2 cannot.
type upgrading struct{ plain, upgrade http.RoundTripper }

func (u upgrading) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Upgrade") != "" {
		return u.upgrade.RoundTrip(r)
	}
	return u.plain.RoundTrip(r)
}

func overHTTP1(config *rest.Config) (http.RoundTripper, error) {
	config = rest.CopyConfig(config)
	config.NextProtos = []string{"http/1.1"}
	return rest.TransportFor(config)
}

func (f *front) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(f.port)) }

// close ends it, and with it all requests that run.
func (f *front) close() error {
	err := f.server.Close()
	<-f.done
	return err
}

// authenticated answers as an API server does to who has no good token.
func authenticated(next http.Handler, tokens *authority) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tokens.good(r.Header.Get("Authorization"), time.Now()) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}`))
	})
}

// scripted is out of order where the script has a fault for it.
func scripted(next http.Handler, script *script) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, f := range script.next(APIServer) {
			if f.Before != nil {
				http.Error(w, f.Before.Message, http.StatusServiceUnavailable)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// renameVersion has the API server call its version as GKE does, with GKE's own number behind it. It matters:
// to semantic versioning that is a version before the one without, and charts trip over it.
func renameVersion(version string) func(*http.Response) error {
	return func(r *http.Response) error {
		if r.Request.URL.Path != "/version" || r.StatusCode != http.StatusOK {
			return nil
		}
		raw, err := io.ReadAll(r.Body)
		if err = errors.Join(err, r.Body.Close()); err != nil {
			return err
		}
		var info map[string]any
		if err := json.Unmarshal(raw, &info); err != nil {
			return err
		}
		info["gitVersion"] = "v" + strings.TrimPrefix(version, "v")
		if raw, err = json.Marshal(info); err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(raw))
		r.ContentLength = int64(len(raw))
		r.Header.Set("Content-Length", strconv.Itoa(len(raw)))
		r.Header.Del("Content-Encoding")
		return nil
	}
}
