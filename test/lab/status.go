package lab

import (
	"context"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/test/lab/content"
)

// Env looks whether the lab is up, whole, with the extra components that are named, and says what it has.
func (l *Lab) Env(ctx context.Context, components ...string) (*Env, error) {
	node, err := l.NodeImage()
	if err != nil {
		return nil, err
	}
	if _, err := run(ctx, "docker", "image", "inspect", node); err != nil {
		return nil, notUp(err, "there is no node image %s", node)
	}
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if err := l.registryAnswers(short, nil); err != nil {
		return nil, notUp(err, "the registry on %s does not answer", RegistryHost)
	}
	images := content.Images()
	for _, name := range components {
		extra, err := content.Extra(name)
		if err != nil {
			return nil, err
		}
		images = append(images, extra...)
	}
	for _, spec := range images {
		if _, err := pushed(ctx, spec.Ref); err != nil {
			return nil, notUp(err, "the registry has no image %s", spec.Ref)
		}
	}
	gateway, err := l.gateway(ctx)
	if err != nil {
		return nil, err
	}
	quirks, err := FindQuirks()
	return &Env{Registry: RegistryHost, Node: node, Gateway: gateway, Quirks: quirks}, err
}

func notUp(cause error, format string, args ...any) error {
	return fault.Wrap(cause, fault.Failed, format, args...).WithHint("run make lab")
}

// Repositories lists what the registry serves.
func (l *Lab) Repositories(ctx context.Context) ([]string, error) {
	registry, err := name.NewRegistry(RegistryHost, name.Insecure)
	if err != nil {
		return nil, err
	}
	list, err := remote.Catalog(ctx, registry)
	if err != nil {
		return nil, fmt.Errorf("list the registry: %w", err)
	}
	return list, nil
}
