// Package probe makes the one HTTP request of a check, and judges its answer.
package probe

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/config"
)

// bodyLimit is how much of an answer is read, in bytes.
const bodyLimit = 1 << 20

// NewClient makes a client that follows no redirects, since the answer itself is judged, and keeps no connections, so that
// each request goes to where the name leads by then. timeout bounds a request with its answer.
func NewClient(timeout time.Duration) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	return &http.Client{
		Timeout:       timeout,
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Ask makes the request of an http check. The detail says what was wrong with the answer, and is empty for a good one. An
// error is a check that can not be asked at all.
func Ask(ctx context.Context, client *http.Client, c config.Check) (detail string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.HTTP, nil)
	if err != nil {
		return "", err
	}
	req.Host = c.Host
	res, err := client.Do(req)
	if err != nil {
		return err.Error(), nil
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, bodyLimit))
	switch {
	case err != nil:
		return "reading the answer: " + err.Error(), nil
	case res.StatusCode != Status(c):
		return fmt.Sprintf("answered %s, want %d", res.Status, Status(c)), nil
	case !strings.Contains(string(body), c.Contains):
		return fmt.Sprintf("the answer of %d bytes does not contain %q", len(body), c.Contains), nil
	}
	return "", nil
}

// Status is the status that a check wants.
func Status(c config.Check) int {
	if c.Status == 0 {
		return http.StatusOK
	}
	return c.Status
}
