package stacks

import (
	"fmt"
	"net/http"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// encrypted sends requests over https alone, but to this machine. The library takes private addresses for registries without
// TLS, and asks any other over http as well when https is slow: on that way credentials could be read and charts exchanged.
type encrypted struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (e encrypted) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "https" || isLoopback(req.URL.Host) {
		return e.next.RoundTrip(req)
	}
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return nil, notEncrypted(req)
}

func notEncrypted(req *http.Request) error {
	return fault.New(fault.Refused, "%s would be accessed over %s, which is not encrypted", req.URL.Host, req.URL.Scheme).
		WithHint("serve it over https with a certificate that this machine trusts; plain http is used only on loopback")
}

// mostRedirects is how often a request may be sent on, as by net/http itself.
const mostRedirects = 10

// staysEncrypted refuses to be sent on from https to what is not.
func staysEncrypted(req *http.Request, via []*http.Request) error {
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return notEncrypted(req)
	}
	if len(via) >= mostRedirects {
		return fmt.Errorf("redirected %d times", len(via))
	}
	return nil
}
