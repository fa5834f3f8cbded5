package kind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/providers"
)

// minFree is the disk space below which images and volumes will not fit, in bytes.
const minFree = 4 << 30

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// Preflight checks the settings, the container runtime, the name, the ports and the disk.
func (p *Provider) Preflight(ctx context.Context, s providers.Spec) error {
	cfg, cfgErr := p.settings.effective()
	var nameErr error
	if !validName.MatchString(s.Name) {
		nameErr = fault.New(fault.Usage, "%q is no name that kind takes", s.Name).On("metadata.name")
	}
	root, err := p.dataRoot(ctx)
	if err != nil {
		return fault.Join(cfgErr, nameErr, err)
	}
	nodes, err := p.runtime.list(ctx, s.Name)
	if err != nil {
		return fault.Join(cfgErr, nameErr, err)
	}
	_, err = owner(nodes)
	switch {
	case errors.Is(err, providers.ErrNotOwned):
		return fault.Join(cfgErr, nameErr, refuseForeign(providers.Ref{Provider: Name, Name: s.Name}))
	case errors.Is(err, providers.ErrNotFound) && cfgErr == nil:
		return fault.Join(nameErr, portsFree(cfg), spaceLeft(root))
	}
	return fault.Join(cfgErr, nameErr)
}

// dataRoot asks the daemon where it keeps its data, which also shows that it answers.
func (p *Provider) dataRoot(ctx context.Context) (string, error) {
	out, err := p.runtime.run(ctx, "info", "--format", "{{json .DockerRootDir}}")
	if err != nil {
		return "", err
	}
	var root string
	if err := json.Unmarshal(out, &root); err != nil {
		return "", fmt.Errorf("docker info: %w", err)
	}
	return root, nil
}

// portsFree tries every host port that the configuration asks for.
func portsFree(cfg *v1alpha4.Cluster) error {
	var errs []error
	for _, n := range cfg.Nodes {
		for _, m := range n.ExtraPortMappings {
			if m.HostPort <= 0 || (m.Protocol != "" && m.Protocol != v1alpha4.PortMappingProtocolTCP) {
				continue
			}
			address := net.JoinHostPort(m.ListenAddress, strconv.Itoa(int(m.HostPort)))
			l, err := net.Listen("tcp", address)
			if err != nil {
				errs = append(errs, fault.Wrap(err, fault.Failed, "port %d of this machine is taken", m.HostPort).On("extraPortMappings").
					WithHint("change hostPort in the kind configuration, or end what listens on %s", address))
				continue
			}
			_ = l.Close()
		}
	}
	return fault.Join(errs...)
}

// spaceLeft looks at the disk of the container runtime, where that is on this machine.
func spaceLeft(root string) error {
	free, err := freeBytes(root)
	if err != nil || free >= minFree {
		return nil // a runtime on another machine has no folder here to look at
	}
	return fault.New(fault.Failed, "only %d MiB are free in %s, a cluster needs %d", free>>20, root, minFree>>20).On("disk").
		WithHint("make room: docker system df shows what takes it")
}
