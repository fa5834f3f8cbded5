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

// crashing is an API server with one pod that crashed, its log and a warning about it.
type crashing struct {
	log, message string
	state        string // of its container; ended with exit 1 and the message where it is empty
	warning      string
}

func (s crashing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	state := s.state
	if state == "" {
		state = fmt.Sprintf(`{"terminated": {"exitCode": 1, "message": %q}}`, s.message)
	}
	pod := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "shop"}, "status": {"containerStatuses": [
		{"name": "app", "state": %s}]}}`, state)
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
	case strings.HasSuffix(path, "/events"):
		_, _ = fmt.Fprintf(w, `{"apiVersion": "v1", "kind": "EventList", "items": [{"type": "Warning", "reason": "Unhealthy", "message": %q}]}`, s.warning)
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
		"in a line that has no end":   {log: strings.Repeat("x", 16<<10-10) + secret},
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
}

func TestALogIsToldByWhatItsLastLinesSay(t *testing.T) {
	long := strings.Repeat("and this took ", 40)
	for name, c := range map[string]struct {
		server crashing
		want   string
	}{
		"lines": {crashing{log: "one \"quoted\" line\nand another"}, `container app exit 1, log: one "quoted" line | and another`},
		"of a controller": {
			crashing{log: `{"level":"error","ts":"2026-11-30T00:02:54.766Z","logger":"setup","msg":"unable to start manager","error":"dial tcp 10.96.0.1:443: i/o timeout"}`},
			"container app exit 1, log: unable to start manager: dial tcp 10.96.0.1:443: i/o timeout",
		},
		"JSON of another shape": {crashing{log: `{"text": "hello"}`}, `container app exit 1, log: {"text": "hello"}`},
		"the cause at the end":  {crashing{log: "failed: " + long + "connection refused"}, "connection refused"},
		"what runs and is not ready": {
			crashing{state: `{"running": {}}`, warning: "Readiness probe failed", log: "waiting for the API server"},
			"Unhealthy: Readiness probe failed, log: waiting for the API server",
		},
	} {
		server := httptest.NewServer(c.server)
		defer server.Close()
		lines := connect(t, &rest.Config{Host: server.URL}).Explain(t.Context(), []kube.Ref{{Version: "v1", Kind: "Pod", Namespace: "shop", Name: "x"}})
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "Pod shop/x: ") || !strings.HasSuffix(lines[0], c.want) {
			t.Errorf("%s: %q, want %q", name, lines, c.want)
		}
		if len(lines) == 1 && len(lines[0]) > 400 {
			t.Errorf("%s: %d bytes are told", name, len(lines[0]))
		}
	}
}
