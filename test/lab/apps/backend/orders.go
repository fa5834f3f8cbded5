package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Order is what somebody bought.
type Order struct {
	ID       int64     `json:"id"`
	Customer string    `json:"customer"`
	Item     string    `json:"item"`
	Quantity int       `json:"quantity"`
	Created  time.Time `json:"created"`
}

// Check tells what is wrong with an order that somebody sent.
func (o Order) Check() error {
	switch {
	case strings.TrimSpace(o.Customer) == "" || strings.TrimSpace(o.Item) == "":
		return errors.New("customer and item are wanted")
	case o.Quantity < 1 || o.Quantity > 1000:
		return errors.New("quantity must be between 1 and 1000")
	}
	return nil
}

// Orders are kept in PostgreSQL.
type Orders struct {
	db *pgxpool.Pool
}

// migrations lead from an empty database to the present one, in order. They are only ever added to.
var migrations = []string{
	`CREATE TABLE orders (
		id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		customer text NOT NULL,
		item     text NOT NULL,
		created  timestamptz NOT NULL DEFAULT now())`,
	`ALTER TABLE orders ADD COLUMN quantity integer NOT NULL DEFAULT 1 CHECK (quantity > 0)`,
}

// migrationLock makes replicas that start together migrate one after the other.
const migrationLock = 7_365_112

// Migrate brings the database's schema to the present. It waits for a database that does not answer
// yet, until ctx ends.
func (o *Orders) Migrate(ctx context.Context) error {
	for {
		err := o.db.Ping(ctx)
		if err == nil {
			break
		}
		slog.Info("waiting for the database", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	return pgx.BeginFunc(ctx, o.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, migrationLock); err != nil {
			return fmt.Errorf("lock the schema: %w", err)
		}
		if _, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY)`); err != nil {
			return fmt.Errorf("table of migrations: %w", err)
		}
		var done int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM migrations`).Scan(&done); err != nil {
			return fmt.Errorf("migrations done: %w", err)
		}
		for n := done; n < len(migrations); n++ {
			if _, err := tx.Exec(ctx, migrations[n]); err != nil {
				return fmt.Errorf("migration %d: %w", n+1, err)
			}
			if _, err := tx.Exec(ctx, `INSERT INTO migrations (number) VALUES ($1)`, n+1); err != nil {
				return fmt.Errorf("migration %d: %w", n+1, err)
			}
			slog.Info("migrated", "number", n+1)
		}
		return nil
	})
}

// Healthy says whether orders can be read: the database answers and has the schema.
func (o *Orders) Healthy(ctx context.Context) error {
	var any bool
	if err := o.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM orders)`).Scan(&any); err != nil {
		return fmt.Errorf("database: %w", err)
	}
	return nil
}

// Latest gives the newest orders first, at most so many.
func (o *Orders) Latest(ctx context.Context, limit int) ([]Order, error) {
	rows, err := o.db.Query(ctx, `SELECT id, customer, item, quantity, created FROM orders ORDER BY id DESC LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	orders, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Order])
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	return orders, nil
}

// Add keeps an order, and returns it with its number and time.
func (o *Orders) Add(ctx context.Context, order Order) (Order, error) {
	err := o.db.QueryRow(ctx, `INSERT INTO orders (customer, item, quantity) VALUES ($1, $2, $3) RETURNING id, created`,
		order.Customer, order.Item, order.Quantity).Scan(&order.ID, &order.Created)
	if err != nil {
		return Order{}, fmt.Errorf("add an order: %w", err)
	}
	return order, nil
}
