// Command backend is the shop's API: it lists and takes orders, which it keeps in PostgreSQL.
//
//	GET  /api/orders   the latest orders
//	POST /api/orders   {"customer": "…", "item": "…", "quantity": 1}
//	GET  /healthz      200 when the database answers
//	GET  /livez        200 while the process serves
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// grace is how long running requests may take after the process was told to end.
const grace = 8 * time.Second

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Error("backend ends", "error", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

// run serves until ctx ends. The database is what PGHOST, PGUSER, PGPASSWORD and PGDATABASE say.
func run(ctx context.Context) error {
	pool, err := pgxpool.New(ctx, "")
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	defer pool.Close()
	orders := &Orders{db: pool}
	server := &http.Server{
		Addr: cmp.Or(os.Getenv("LISTEN"), ":8080"), Handler: handler(orders), ReadHeaderTimeout: 5 * time.Second,
	}
	served := make(chan error, 1)
	go func() { served <- server.ListenAndServe() }()
	migrated := make(chan error, 1)
	go func() { migrated <- orders.Migrate(ctx) }()
	slog.Info("backend serves", "address", server.Addr)
	for {
		select {
		case err := <-served:
			return err
		case err := <-migrated:
			if err != nil && ctx.Err() == nil {
				return errors.Join(err, server.Close())
			}
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
			defer cancel()
			return server.Shutdown(end)
		}
	}
}
