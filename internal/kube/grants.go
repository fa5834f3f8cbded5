package kube

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// settling is how long an API server that was started anew may take to read who may do what. Until then it refuses what it
// has allowed before, and what it will allow (kubernetes#121635).
const settling = 30 * time.Second

// grants knows which refusals of an API server are not its last word: of a request that it allowed before, or just after a
// connection to it was lost.
type grants struct {
	patience time.Duration // settling

	mu      sync.Mutex
	lost    time.Time
	allowed map[string]bool      // by method and path
	refused map[string]time.Time // since when
}

func newGrants() *grants {
	return &grants{patience: settling, allowed: map[string]bool{}, refused: map[string]time.Time{}}
}

// unsettled is a refusal that may pass.
type unsettled struct{ message string }

func (e *unsettled) Error() string {
	return "the API server refuses it, which is normal for a moment after a restart: " + e.message
}

// Temporary lets it count as [transient], in what net/http makes of it.
func (e *unsettled) Temporary() bool { return true }

// listen hears what passes through a transport.
func (g *grants) listen(next http.RoundTripper) http.RoundTripper { return &granted{next, g} }

type granted struct {
	next   http.RoundTripper
	grants *grants
}

func (t *granted) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.next.RoundTrip(r)
	request := r.Method + " " + r.URL.Path
	if r.URL.Query().Has("watch") {
		request += " watch" // who may list may not always do that
	}
	switch {
	case err != nil:
		if r.Context().Err() == nil {
			t.grants.lose()
		}
	case answer.StatusCode == http.StatusForbidden:
		return t.judge(request, answer)
	case answer.StatusCode < http.StatusInternalServerError && answer.StatusCode != http.StatusUnauthorized:
		t.grants.allow(request)
	}
	return answer, err
}

// WrappedRoundTripper lets those find the transport that need more of it, as client-go does.
func (t *granted) WrappedRoundTripper() http.RoundTripper { return t.next }

// maxRefusal is how much of a refusal is read, in bytes: it is a Status, with a sentence.
const maxRefusal = 1 << 20

// judge gives a refusal as it is, or as an error that may pass.
func (t *granted) judge(request string, answer *http.Response) (*http.Response, error) {
	body := answer.Body
	raw, err := io.ReadAll(io.LimitReader(body, maxRefusal))
	_ = body.Close() // it has been read
	if err != nil {
		return nil, err
	}
	answer.Body = io.NopCloser(bytes.NewReader(raw))
	if !isOfAuthorization(raw) {
		t.grants.allow(request) // an admission plugin refuses it, after it was authorized
		return answer, nil
	}
	if !t.grants.mayPass(request) {
		return answer, nil
	}
	var status metav1.Status
	if json.Unmarshal(raw, &status) != nil || status.Message == "" {
		status.Message = "forbidden"
	}
	return nil, &unsettled{status.Message}
}

// isOfAuthorization says whether a refusal is the authorizer's: `User "x" cannot get resource "pods" …`.
func isOfAuthorization(raw []byte) bool {
	_, said, found := strings.Cut(string(raw), "User ")
	return found && strings.Contains(said, " cannot ")
}

func (g *grants) lose() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lost = time.Now()
}

func (g *grants) allow(request string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.allowed[request] = true
	delete(g.refused, request)
}

// mayPass says whether a refusal of a request is not believed yet.
func (g *grants) mayPass(request string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if !g.allowed[request] && (g.lost.IsZero() || now.Sub(g.lost) > g.patience) {
		return false
	}
	since, before := g.refused[request]
	if !before {
		g.refused[request], since = now, now
	}
	return now.Sub(since) < g.patience
}
