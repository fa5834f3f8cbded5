package lab

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/test/lab/content"
	"github.com/rekindle-dev/rekindle/test/lab/image"
)

// certsFile is where Debian keeps the certificates that are trusted.
const certsFile = "/etc/ssl/certs/ca-certificates.crt"

// pushImages builds every image of the content table and puts it into the registry.
func (l *Lab) pushImages(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	cache, err := l.assetCache()
	if err != nil {
		return "", err
	}
	certs, err := os.ReadFile(certsFile)
	if err != nil {
		return "", err
	}
	all, outcome := content.Images(), plan.Unchanged
	for i, spec := range all {
		p.Count(int64(i), int64(len(all)), "images")
		p.Waiting(spec.Ref)
		options := image.Options{Certs: certs}
		if options.Programs, err = l.imagePrograms(ctx, cache, spec, p); err != nil {
			return "", fmt.Errorf("%s: %w", spec.Ref, err)
		}
		if len(spec.Debian) > 0 {
			if options.Root, err = l.debianRoot(ctx, spec.Debian); err != nil {
				return "", fmt.Errorf("%s: %w", spec.Ref, err)
			}
		}
		img, err := image.Build(spec, options)
		if err != nil {
			return "", err
		}
		changed, err := push(ctx, spec.Ref, img)
		if err != nil {
			return "", fmt.Errorf("%s: %w", spec.Ref, err)
		}
		if changed {
			outcome = plan.Changed
		}
	}
	return outcome, nil
}

// imagePrograms builds what runs in an image.
func (l *Lab) imagePrograms(ctx context.Context, cache *assets.Cache, spec image.Spec, p plan.Progress) (map[string]string, error) {
	programs := map[string]string{}
	for name, pkg := range spec.App {
		out := l.path("bin", "app-"+name)
		if err := l.buildApp(ctx, pkg, out); err != nil {
			return nil, err
		}
		programs[name] = out
	}
	if spec.Module == "" {
		return programs, nil
	}
	archive, err := content.Module(spec.Module)
	if err != nil {
		return nil, err
	}
	m := assets.Module{Name: spec.Module, Archive: archive, LDFlags: spec.LDFlags, Tags: spec.Tags}
	for _, name := range slices.Sorted(maps.Keys(spec.Package)) {
		m.Programs = append(m.Programs, assets.Program{Name: name, Package: spec.Package[name]})
	}
	built, err := cache.Build(ctx, m, p)
	maps.Copy(programs, built)
	return programs, err
}

// buildApp builds a program of the sample application, which is a module of its own.
func (l *Lab) buildApp(ctx context.Context, pkg, out string) error {
	dir := l.src("test", "lab", "apps")
	_, err := run(ctx, "env", "-C", dir, "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", out, "./"+filepath.ToSlash(pkg))
	return err
}
