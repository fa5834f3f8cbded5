package stacks

import (
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// logIn gives a request to a chart repository the credentials that the user's Docker configuration has for its host, as one to
// a registry gets. Without TLS they go to this machine only.
func logIn(req *http.Request) error {
	host := req.URL.Host
	if req.URL.Scheme != "https" && !isLoopback(host) {
		return nil
	}
	registry, err := name.NewRegistry(host)
	if err != nil {
		return nil // no configuration can name it
	}
	found, err := authn.DefaultKeychain.Resolve(registry)
	if err != nil {
		return fmt.Errorf("the credentials of %s in Docker's configuration: %w", host, err)
	}
	login, err := found.Authorization()
	if err != nil {
		return fmt.Errorf("the credentials of %s in Docker's configuration: %w", host, err)
	}
	if login.Username != "" {
		req.SetBasicAuth(login.Username, login.Password)
	}
	return nil
}
