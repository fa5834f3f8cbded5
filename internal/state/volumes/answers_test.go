package volumes

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// answers are those of an API server. They come without a network, whose ends would keep the time
// of a bubble from passing. What has none is not found.
type answers func(r *http.Request) (code int, body string)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	code, body := a(r)
	if code == 0 {
		code, body = http.StatusNotFound, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`
	}
	return &http.Response{
		StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}, nil
}

func (a answers) client(t *testing.T) *kube.Client {
	t.Helper()
	c, err := kube.Connect(&rest.Config{Host: "http://nowhere.invalid", Transport: a})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
