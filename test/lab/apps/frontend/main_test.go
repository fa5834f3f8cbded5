package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// get gives status and body of one path of the front end before an API.
func get(t *testing.T, path string, api http.HandlerFunc) (int, string) {
	t.Helper()
	back := httptest.NewServer(api)
	t.Cleanup(back.Close)
	h, err := handler(back.URL, "Shop <dev>")
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(h)
	t.Cleanup(front.Close)
	answer, err := http.Get(front.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestPage(t *testing.T) {
	status, body := get(t, "/", func(http.ResponseWriter, *http.Request) { t.Error("the page asked the API") })
	if status != http.StatusOK || !strings.Contains(body, "<h1>Shop &lt;dev&gt;</h1>") {
		t.Errorf("GET / = %d, %s", status, body)
	}
}

func TestAPIIsPassedOn(t *testing.T) {
	status, body := get(t, "/api/orders", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, r.URL.Path+" for "+r.Header.Get("X-Forwarded-For"))
	})
	if status != http.StatusTeapot || body != "/api/orders for 127.0.0.1" {
		t.Errorf("GET /api/orders = %d, %s", status, body)
	}
}

func TestBackendMustBeAnAddress(t *testing.T) {
	if _, err := handler("backend:8080", "Shop"); err == nil {
		t.Error("an address without a scheme was taken")
	}
}
