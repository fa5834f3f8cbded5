// Package probe makes the HTTP requests of checks, and judges the answers.
package probe

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
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
// error is a check that cannot be asked at all.
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
		return fmt.Sprintf("the answer of %s does not contain %q", plan.Count(len(body), "byte"), c.Contains), nil
	}
	return "", nil
}

// requestTimeout bounds one request of Await.
const requestTimeout = 10 * time.Second

// Await asks until the answer is the wanted one.
func Await(ctx context.Context, c config.Check, p plan.Progress) error {
	client := NewClient(requestTimeout)
	condition := wait.Func(c.HTTP, func(ctx context.Context) (bool, string, error) {
		detail, err := Ask(ctx, client, c)
		return detail == "", detail, err
	})
	if err := wait.Poll(ctx, condition, time.Second, p); err != nil {
		return fault.Wrap(err, fault.Failed, "never gave the expected answer").On("check %s", c.HTTP).
			WithHint("try it yourself: curl -i %s", curlArgs(c))
	}
	return nil
}

func curlArgs(c config.Check) string {
	if c.Host == "" {
		return c.HTTP
	}
	return fmt.Sprintf("-H 'Host: %s' %s", c.Host, c.HTTP)
}

// Status is the status that a check wants.
func Status(c config.Check) int {
	if c.Status == 0 {
		return http.StatusOK
	}
	return c.Status
}
