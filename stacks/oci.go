package stacks

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// chartLayer is the media type of a chart archive in an OCI registry, as Helm pushes it.
const chartLayer types.MediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

// pull gets a chart from an OCI registry, with the credentials of the user's Docker configuration. Only a registry on
// this machine is spoken to without TLS.
func (f *Fetcher) pull(ctx context.Context, repository, version string) ([]byte, error) {
	var options []name.Option
	host, _, _ := strings.Cut(repository, "/")
	if isLoopback(host) {
		options = append(options, name.Insecure)
	}
	tag := strings.ReplaceAll(version, "+", "_") // as Helm does: a tag cannot hold a +
	ref, err := name.ParseReference(repository+":"+tag, options...)
	if err != nil {
		f := fault.Wrap(err, fault.Usage, "not a chart in an OCI registry")
		if strings.Contains(repository, "@") {
			return nil, f.WithHint("take the digest out of the address: digest of the release is that of the chart's archive, and is checked")
		}
		return nil, f
	}
	access := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithTransport(f.registry)}
	image, err := remote.Image(ref, access...)
	if err != nil {
		return nil, registryFault(ctx, err, ref, access)
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, registryFault(ctx, err, ref, access)
	}
	for _, layer := range layers {
		if media, err := layer.MediaType(); err != nil || media != chartLayer {
			continue
		}
		content, err := layer.Compressed()
		if err != nil {
			return nil, registryFault(ctx, err, ref, access)
		}
		defer func() { _ = content.Close() }()
		return limited(content, ref.String())
	}
	return nil, fault.New(fault.Usage, "%s is not a Helm chart", ref)
}

func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// registryFault says what of a registry's answer matters: not there, not allowed, or not now.
func registryFault(ctx context.Context, err error, ref name.Reference, access []remote.Option) error {
	var answer *transport.Error
	if ctx.Err() != nil || !errors.As(err, &answer) {
		return unreachable(ctx, err)
	}
	switch {
	case answer.StatusCode == http.StatusNotFound:
		f := fault.New(fault.Usage, "the registry has no %s", ref)
		if tags, err := remote.List(ref.Context(), access...); err == nil && len(tags) > 0 {
			slices.Sort(tags)
			f = f.WithHint("available versions: %s", strings.Join(tags[max(0, len(tags)-8):], ", "))
		}
		return f
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		return fault.New(fault.Failed, "the registry refuses %s: %s", ref, http.StatusText(answer.StatusCode)).
			WithHint("log in: docker login %s (its file is read, as is that of podman login; that of helm registry login is not)", ref.Context().RegistryStr())
	case answer.StatusCode == http.StatusTooManyRequests, answer.StatusCode >= 500:
		return fault.Wrap(err, fault.Failed, "the registry cannot answer now").Transient()
	}
	return fault.Wrap(err, fault.Failed, "the registry answered %d", answer.StatusCode)
}
