package gke

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/oauth2"
)

// TestTheEnvironmentNamesTheQuotaProject before the credentials do, as for all of Google's libraries.
func TestTheEnvironmentNamesTheQuotaProject(t *testing.T) {
	file := filepath.Join(t.TempDir(), "adc.json")
	if err := os.WriteFile(file, []byte(`{"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c", "quota_project_id": "mine"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(credentialsEnv, file)
	for named, want := range map[string]string{"": "mine", "theirs": "theirs"} {
		t.Setenv(quotaEnv, named)
		if who, err := (Override{}).credentials(t.Context()); err != nil || who.quota != want {
			t.Errorf("%s=%q: %+v, %v", quotaEnv, named, who, err)
		}
	}
}

// TestAnAPIServerIsToldOfNoQuotaProject, as by kubectl: it may ask for a role there that nobody needs in a cluster.
func TestAnAPIServerIsToldOfNoQuotaProject(t *testing.T) {
	tokens := &tokens{find: func(context.Context) (*identity, error) {
		return &identity{oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "x"}), "mine"}, nil
	}}
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("X-Goog-User-Project") }))
	defer server.Close()
	for want, transport := range map[string]http.RoundTripper{"": tokens.wrap(http.DefaultTransport), "mine": tokens.counted(http.DefaultTransport)} {
		resp, err := (&http.Client{Transport: transport}).Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got != want {
			t.Errorf("told of %q, want %q", got, want)
		}
	}
}
