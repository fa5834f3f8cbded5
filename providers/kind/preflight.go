package kind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/folders"
	"github.com/rekindle-dev/rekindle/providers"
)

// minFree is the disk space below which images and volumes will not fit, in bytes.
const minFree = 2 << 30

// validate looks at a cluster's name.
func validate(name string) error {
	if config.IsName(name) {
		return nil
	}
	return fault.New(fault.Usage, "%q is not a valid name for kind", name).On("metadata.name").WithHint("use %s", config.NameRule)
}

// check looks at everything that needs no container runtime, and gives the configuration for kind.
func (p *Provider) check(s providers.Spec) (*v1alpha4.Cluster, error) {
	cfg, err := p.settings.effective()
	return cfg, fault.Join(validate(s.Name), err)
}

// imagesFit compares the version in the names of node images with the wanted one. It is about a cluster that is to be made: one
// that exists runs what it runs, whatever image this build would take.
func imagesFit(cfg *v1alpha4.Cluster, s providers.Spec) error {
	var errs []error
	for _, image := range images(cfg) {
		if v := versionOf(image); v != "" && !providers.Fits(v, s.Version) {
			errs = append(errs, fault.New(fault.Usage, "the node image %s has Kubernetes %s, the document requires %s", image, v, s.Version).
				On("spec.kubernetes.version").
				WithHint("name an image of that version in spec.provider.kind.image, or set the version to %s", strings.TrimPrefix(v, "v")))
		}
	}
	return fault.Join(errs...)
}

// Preflight checks the settings, the container runtime, the name, the images, the ports and the disk.
// What only a new cluster needs is not asked of one that exists.
func (p *Provider) Preflight(ctx context.Context, s providers.Spec) error {
	cfg, bad := p.check(s)
	root, err := p.dataRoot(ctx)
	if err != nil {
		return fault.Join(bad, err)
	}
	if validate(s.Name) != nil {
		return bad
	}
	nodes, err := p.runtime.list(ctx, s.Name)
	if err != nil {
		return fault.Join(bad, err)
	}
	_, err = owner(nodes)
	switch {
	case errors.Is(err, providers.ErrNotOwned):
		return fault.Join(refuseForeign(providers.Ref{Provider: Name, Name: s.Name}), bad)
	case err == nil || cfg == nil:
		return bad
	}
	bad = fault.Join(bad, imagesFit(cfg, s), p.haveImages(ctx, cfg))
	if p.runtime.remote(ctx) {
		return bad // its ports and its disk are not seen here
	}
	return fault.Join(bad, p.portsFree(cfg), spaceLeft(root))
}

// dataRoot asks the daemon where it keeps its data, which also shows that it answers. It is empty
// where the runtime does not tell.
func (p *Provider) dataRoot(ctx context.Context) (string, error) {
	format := map[string]string{docker: "{{json .DockerRootDir}}", podman: "{{json .Store.GraphRoot}}"}[p.runtime.command]
	if format == "" {
		_, err := p.runtime.run(ctx, "info")
		return "", err
	}
	out, err := p.runtime.run(ctx, "info", "--format", format)
	if err != nil {
		// Without a daemon some versions tell of their template alone. This tells why.
		if _, plain := p.runtime.run(ctx, "ps", "--quiet"); plain != nil {
			err = plain
		}
		return "", err
	}
	var root string
	if err := json.Unmarshal(out, &root); err != nil {
		return "", fmt.Errorf("%s info: %w", p.runtime.command, err)
	}
	return root, nil
}

// portsFree tries every host port that the configuration asks for.
func (p *Provider) portsFree(cfg *v1alpha4.Cluster) error {
	var errs []error
	try := func(field, address string, port int32, protocol v1alpha4.PortMappingProtocol) {
		if port <= 0 || isFree(protocol, net.JoinHostPort(address, strconv.Itoa(int(port)))) {
			return
		}
		errs = append(errs, fault.New(fault.Failed, "port %d of this machine is taken", port).On("%s", field).At(p.settings.File, 0).
			WithHint("end what listens there (ss -lntup shows it), or choose another port in the kind configuration"))
	}
	address := cfg.Networking.APIServerAddress
	if address == "" { // as kind chooses it: what listens on other addresses is no matter
		address = map[bool]string{false: "127.0.0.1", true: "::1"}[cfg.Networking.IPFamily == v1alpha4.IPv6Family]
	}
	try("networking.apiServerPort", address, cfg.Networking.APIServerPort, v1alpha4.PortMappingProtocolTCP)
	for _, n := range cfg.Nodes {
		for _, m := range n.ExtraPortMappings {
			try("extraPortMappings", m.ListenAddress, m.HostPort, m.Protocol)
		}
	}
	return fault.Join(errs...)
}

// isFree says that nobody listens on an address. That this user may not listen there himself, as on
// a port below 1024, is no matter: the container runtime may.
func isFree(protocol v1alpha4.PortMappingProtocol, address string) bool {
	var (
		socket interface{ Close() error }
		err    error
	)
	switch protocol {
	case "", v1alpha4.PortMappingProtocolTCP:
		socket, err = net.Listen("tcp", address)
	case v1alpha4.PortMappingProtocolUDP:
		socket, err = net.ListenPacket("udp", address)
	default:
		return true
	}
	if err != nil {
		return !errors.Is(err, syscall.EADDRINUSE)
	}
	return socket.Close() == nil
}

// spaceLeft looks at the disk of the container runtime, where that is on this machine.
func spaceLeft(root string) error {
	if root == "" {
		return nil
	}
	free, err := folders.Free(root)
	if err != nil || free >= minFree {
		return nil // a runtime in a virtual machine has no folder here to look at
	}
	return fault.New(fault.Failed, "only %d MiB are free in %s, a cluster needs %d", free>>20, root, minFree>>20).On("disk").
		WithHint("make room: docker system df shows what takes it, docker system prune frees what is not used")
}
