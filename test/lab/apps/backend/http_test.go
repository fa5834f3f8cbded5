package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// answers gives what the API answers while its database is away.
func answers(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), "postgres://shop@127.0.0.1:1/shop?connect_timeout=1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w := httptest.NewRecorder()
	handler(&Orders{db: pool}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func TestWithoutDatabase(t *testing.T) {
	for _, one := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"GET", "/livez", "", http.StatusOK, `"ok"`},
		{"GET", "/healthz", "", http.StatusServiceUnavailable, "Service Unavailable"},
		{"GET", "/api/orders", "", http.StatusInternalServerError, "Internal Server Error"},
		{"POST", "/api/orders", `{"customer":"Ada","item":"tea","quantity":1}`, http.StatusInternalServerError, "Internal Server Error"},
		{"POST", "/api/orders", `{"customer":"Ada","item":"tea","quantity":0}`, http.StatusBadRequest, "quantity must be between 1 and 1000"},
		{"POST", "/api/orders", `{"customer":" ","item":"tea","quantity":1}`, http.StatusBadRequest, "customer and item are wanted"},
		{"POST", "/api/orders", `{"costumer":"Ada"}`, http.StatusBadRequest, "costumer"},
		{"POST", "/api/orders", `{"customer":"` + strings.Repeat("A", maxBody) + `"}`, http.StatusBadRequest, "too large"},
		{"DELETE", "/api/orders", "", http.StatusMethodNotAllowed, ""},
	} {
		status, text := answers(t, one.method, one.path, one.body)
		if status != one.status || !strings.Contains(text, one.text) {
			t.Errorf("%s %s %.60s = %d %s, want %d %s", one.method, one.path, one.body, status, text, one.status, one.text)
		}
		if strings.Contains(text, "127.0.0.1") {
			t.Errorf("%s %s tells where the database is: %s", one.method, one.path, text)
		}
	}
}
