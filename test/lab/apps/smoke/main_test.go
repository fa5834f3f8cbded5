package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestALostOrderIsNoticed: a shop that takes an order and forgets it must not pass.
func TestALostOrderIsNoticed(t *testing.T) {
	for _, forgets := range []bool{false, true} {
		var kept []order
		shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				_ = json.NewEncoder(w).Encode(kept)
				return
			}
			var o order
			if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
				t.Error(err)
			}
			o.ID = 7
			if !forgets {
				kept = append(kept, o)
			}
			w.WriteHeader(http.StatusCreated)
			_ = json.NewEncoder(w).Encode(o)
		}))
		err := run(t.Context(), shop.URL)
		shop.Close()
		if forgets && (err == nil || !strings.Contains(err.Error(), "order 7")) || !forgets && err != nil {
			t.Errorf("forgets=%t: %v", forgets, err)
		}
	}
}
