package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"
)

const (
	maxBody     = 64 << 10
	listed      = 50
	healthLimit = 2 * time.Second
)

// handler serves the API over the orders.
func handler(orders *Orders) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), healthLimit)
		defer cancel()
		if err := orders.Healthy(ctx); err != nil {
			fail(w, http.StatusServiceUnavailable, err)
			return
		}
		reply(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /api/orders", func(w http.ResponseWriter, r *http.Request) {
		list, err := orders.Latest(r.Context(), listed)
		if err != nil {
			fail(w, http.StatusInternalServerError, err)
			return
		}
		reply(w, http.StatusOK, list)
	})
	mux.HandleFunc("POST /api/orders", func(w http.ResponseWriter, r *http.Request) {
		var order Order
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&order)
		if err == nil {
			err = order.Check()
		}
		if err != nil {
			fail(w, http.StatusBadRequest, err)
			return
		}
		added, err := orders.Add(r.Context(), order)
		if err != nil {
			fail(w, http.StatusInternalServerError, err)
			return
		}
		reply(w, http.StatusCreated, added)
	})
	return mux
}

func fail(w http.ResponseWriter, status int, err error) {
	slog.Warn("request failed", "status", status, "error", err)
	message := http.StatusText(status) // what the database says is for the log
	if status == http.StatusBadRequest {
		message = err.Error()
	}
	reply(w, status, map[string]string{"error": message})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		slog.Warn("answer not sent", "error", err)
	}
}
