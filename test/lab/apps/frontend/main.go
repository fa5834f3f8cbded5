// Command frontend is the shop's page. What is under /api it passes on to the back end.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// grace is how long running requests may take after the process was told to end.
const grace = 8 * time.Second

//go:embed page.html
var page string

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Error("frontend ends", "error", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

// run serves until ctx ends: BACKEND is the address of the API, SHOP_NAME what the page calls itself.
func run(ctx context.Context) error {
	h, err := handler(cmp.Or(os.Getenv("BACKEND"), "http://backend:8080"), cmp.Or(os.Getenv("SHOP_NAME"), "Shop"))
	if err != nil {
		return err
	}
	server := &http.Server{Addr: cmp.Or(os.Getenv("LISTEN"), ":8080"), Handler: h, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.ListenAndServe() }()
	slog.Info("frontend serves", "address", server.Addr)
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		return server.Shutdown(end)
	}
}

// handler serves the page, with the shop's name in it, and the API behind it.
func handler(backend, name string) (http.Handler, error) {
	target, err := url.Parse(backend)
	if err != nil || target.Host == "" {
		return nil, fmt.Errorf("BACKEND: %q is no http:// address", backend)
	}
	shown, err := template.New("page").Parse(page)
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if err := shown.Execute(w, name); err != nil {
			slog.Warn("page not sent", "error", err)
		}
	})
	mux.Handle("/api/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.SetXForwarded()
	}})
	return mux, nil
}
