package stacks

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// wire answers over http at once, and over https never well.
type wire struct{ plain int }

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "https" {
		return nil, errors.New("server gave HTTP response to HTTPS client")
	}
	w.plain++
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: req}, nil
}

// Docker's credentials and charts go over no open network, whatever address a registry has.
func TestARegistryIsSpokenToOverHTTPSAlone(t *testing.T) {
	for _, host := range []string{"10.1.2.3:5000", "192.168.1.2", "registry.local", "git.example.com"} {
		to := &wire{}
		f := NewFetcher(t.TempDir())
		f.registry = encrypted{to}
		_, err := f.pull(t.Context(), host+"/charts/app", "1.0.0")
		if err == nil || to.plain > 0 {
			t.Errorf("%s: %d requests without TLS: %v", host, to.plain, err)
		}
		if strings.HasPrefix(host, "1") && (fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "not encrypted")) {
			t.Errorf("%s: %v", host, err)
		}
	}
	to := &wire{}
	f := NewFetcher(t.TempDir())
	f.registry = encrypted{to}
	if _, _ = f.pull(t.Context(), "127.0.0.1:5000/charts/app", "1.0.0"); to.plain == 0 {
		t.Error("a registry of this machine is not asked")
	}
}

func TestAChartIsNotFetchedPastHTTPS(t *testing.T) {
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "forged") }))
	t.Cleanup(open.Close)
	site := httptest.NewTLSServer(http.RedirectHandler(open.URL+"/index.yaml", http.StatusFound))
	t.Cleanup(site.Close)
	f := NewFetcher(t.TempDir())
	f.client.Transport = site.Client().Transport
	if raw, err := f.http(t.Context(), site.URL+"/index.yaml"); fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "not encrypted") {
		t.Errorf("%s, %v", raw, err)
	}
}
