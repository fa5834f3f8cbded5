package kube_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// crashing is an API server with one pod that crashed, and its log.
type crashing struct{ log, message string }

func (s crashing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	pod := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "shop"}, "status": {"containerStatuses": [
		{"name": "app", "state": {"terminated": {"exitCode": 1, "message": %q}}}]}}`, s.message)
	switch path := r.URL.Path; {
	case path == "/api":
		_, _ = io.WriteString(w, `{"kind": "APIVersions", "versions": ["v1"]}`)
	case path == "/apis":
		_, _ = io.WriteString(w, `{"kind": "APIGroupList", "apiVersion": "v1", "groups": []}`)
	case path == "/api/v1":
		_, _ = io.WriteString(w, `{"kind": "APIResourceList", "groupVersion": "v1", "resources": [{"name": "pods", "namespaced": true, "kind": "Pod", "verbs": ["get"]}]}`)
	case strings.HasSuffix(path, "/log"):
		w.Header().Set("Content-Type", "text/plain")
		text := s.log
		var limit int
		if _, err := fmt.Sscan(r.URL.Query().Get("limitBytes"), &limit); err == nil {
			text = text[:min(limit, len(text))]
		}
		_, _ = io.WriteString(w, text)
	case strings.HasSuffix(path, "/pods/x"):
		_, _ = io.WriteString(w, pod)
	default:
		_, _ = io.WriteString(w, `{"apiVersion": "v1", "kind": "PodList", "items": [`+pod+`]}`)
	}
}

func TestNoSecretIsCutOrChangedBeforeItIsTakenOut(t *testing.T) {
	const secret = `correct  "horse"\battery`
	for name, s := range map[string]crashing{
		"as it is":                    {log: "password " + secret},
		"where a line is cut":         {log: strings.Repeat("x", 190) + secret},
		"where the server cuts":       {log: "first\n" + strings.Repeat("x", 16<<10-len("first\n")-10) + secret},
		"in the message of its death": {message: strings.Repeat("x", 290) + secret},
	} {
		server := httptest.NewServer(s)
		defer server.Close()
		client, err := kube.Connect(&rest.Config{Host: server.URL}, kube.Redacted(func(s string) string { return strings.ReplaceAll(s, secret, "***") }))
		if err != nil {
			t.Fatal(err)
		}
		lines := client.Explain(t.Context(), []kube.Ref{{Version: "v1", Kind: "Pod", Namespace: "shop", Name: "x"}})
		if len(lines) != 1 || !strings.Contains(lines[0], "container app exit 1") {
			t.Fatalf("%s: %q", name, lines)
		}
		if strings.Contains(lines[0], "correct") || strings.Contains(lines[0], `\\`) {
			t.Errorf("%s: %s", name, lines[0])
		}
	}
	server := httptest.NewServer(crashing{log: "one \"quoted\" line\nand another"})
	defer server.Close()
	lines := connect(t, &rest.Config{Host: server.URL}).Explain(t.Context(), []kube.Ref{{Version: "v1", Kind: "Pod", Namespace: "shop", Name: "x"}})
	if want := `Pod shop/x: container app exit 1, log: one "quoted" line | and another`; len(lines) != 1 || lines[0] != want {
		t.Errorf("%q, want %q", lines, want)
	}
}
