package kind

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// versionTag is the Kubernetes version that a node image's tag begins with, as those of kind do.
var versionTag = regexp.MustCompile(`:(v\d+\.\d+\.\d+)`)

// images are the node images of a configuration, each once.
func images(cfg *v1alpha4.Cluster) []string {
	var all []string
	for _, n := range cfg.Nodes {
		if !slices.Contains(all, n.Image) {
			all = append(all, n.Image)
		}
	}
	return all
}

// unknownImage is what registries and runtimes say of an image that a registry does not have.
var unknownImage = regexp.MustCompile(`(?m)manifest unknown|no such manifest|manifest for .* not found|: not found$`)

// haveImages refuses an image that is not on this machine when its registry says that there is none. Any other error is left to the
// pull: it is made by the daemon, which may have a mirror, a proxy or trust that the command asked here has not.
func (p *Provider) haveImages(ctx context.Context, cfg *v1alpha4.Cluster) error {
	var errs []error
	for _, image := range images(cfg) {
		if p.hasImage(ctx, image) || p.runtime.command != docker {
			continue // only docker can ask without fetching
		}
		if _, err := p.runtime.run(ctx, "manifest", "inspect", image); err != nil && unknownImage.MatchString(err.Error()) {
			errs = append(errs, p.noImage(ctx, image, err))
		}
	}
	return fault.Join(errs...)
}

// pull fetches the images that are missing. kind would do so too, but could not be cancelled then.
func (p *Provider) pull(ctx context.Context, cfg *v1alpha4.Cluster, progress plan.Progress) error {
	for _, image := range images(cfg) {
		if p.hasImage(ctx, image) {
			continue
		}
		progress.Waiting("the node image " + image)
		if _, err := p.runtime.run(ctx, "pull", "--quiet", image); err != nil {
			return p.noImage(ctx, image, err)
		}
	}
	return ctx.Err()
}

func (p *Provider) hasImage(ctx context.Context, image string) bool {
	_, err := p.runtime.run(ctx, "image", "inspect", "--format", "{{.Id}}", image)
	return err == nil
}

func (p *Provider) noImage(ctx context.Context, image string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fault.Wrap(err, fault.Failed, "is not available").On("node image %s", image).
		WithHint("see whether %s pull %s works, or name another in spec.provider.kind.image", p.runtime.command, image)
}

// versionOf is the version that an image's name tells, empty when it tells none.
func versionOf(image string) string {
	name, _, _ := strings.Cut(image, "@")
	m := versionTag.FindStringSubmatch(name)
	if m == nil {
		return ""
	}
	return m[1]
}
