package stacks_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/stacks"
)

// TestAChartRepositoryGetsTheCredentialsOfItsHost has the archive at another host, which must not see them.
func TestAChartRepositoryGetsTheCredentialsOfItsHost(t *testing.T) {
	archive := packed(t, nil)
	seen := make(chan string, 1)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get("Authorization")
		_, _ = w.Write(archive)
	}))
	t.Cleanup(elsewhere.Close)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "ann" || password != "hunter2" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, "entries:\n  app:\n  - {name: app, version: 1.0.0, urls: ['%s/app.tgz']}\n", elsewhere.URL)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	fetch := func(password string) error {
		t.Helper()
		config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, host, base64.StdEncoding.EncodeToString([]byte("ann:"+password)))
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		s := newStack(t, repository("- {name: a, namespace: x, chart: app, version: 1.0.0, repo: '"+server.URL+"'}\n", nil), stacks.Options{})
		return s.Fetch(t.Context(), stacks.NewFetcher(t.TempDir()), nil)
	}
	if err := fetch("hunter2"); err != nil {
		t.Fatal(err)
	}
	if sent := <-seen; sent != "" {
		t.Errorf("another host got %q", sent)
	}
	err := fetch("wrong-one")
	wants(t, err, fault.Failed, "401", "auths", host)
	if strings.Contains(fault.Text(err), "wrong-one") {
		t.Error("it tells the password")
	}
}
