// Command smoke buys something in the shop and looks whether it was really bought: it goes through the
// front end, the back end and the database, as a customer does. SHOP is the shop's address.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"
)

// limit is for the whole test.
const limit = 30 * time.Second

type order struct {
	ID       int64  `json:"id,omitempty"`
	Customer string `json:"customer"`
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := run(ctx, cmp.Or(os.Getenv("SHOP"), "http://frontend")); err != nil {
		slog.Error("the shop does not work", "error", err)
		cancel()
		os.Exit(1) //nolint:gocritic // cancel has been called
	}
	slog.Info("the shop works")
}

func run(ctx context.Context, shop string) error {
	var bought order
	want := order{Customer: "smoke-test", Item: "a match", Quantity: 1}
	if err := call(ctx, http.MethodPost, shop+"/api/orders", want, http.StatusCreated, &bought); err != nil {
		return err
	}
	var list []order
	if err := call(ctx, http.MethodGet, shop+"/api/orders", nil, http.StatusOK, &list); err != nil {
		return err
	}
	want.ID = bought.ID
	for _, o := range list {
		if o == want {
			return nil
		}
	}
	return fmt.Errorf("order %d was taken but is not listed", bought.ID)
}

// call makes a request with a JSON body, wants a status, and reads the answer's body.
func call(ctx context.Context, method, url string, body any, status int, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	if answer.StatusCode != status {
		return fmt.Errorf("%s %s: %s, want %d: %s", method, url, answer.Status, status, text)
	}
	return json.Unmarshal(text, into)
}
