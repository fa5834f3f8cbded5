package lab

import (
	"context"
	"encoding/json"
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

// pushImages gives the step that builds images of the content table and puts them into the registry.
func (l *Lab) pushImages(images func() ([]image.Spec, error)) plan.Do {
	return func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
		all, err := images()
		if err != nil {
			return "", err
		}
		cache, err := l.assetCache()
		if err != nil {
			return "", err
		}
		certs, err := os.ReadFile(certsFile)
		if err != nil {
			return "", err
		}
		outcome := plan.Unchanged
		for i, spec := range all {
			p.Count(int64(i), int64(len(all)), "images")
			p.Waiting(spec.Ref)
			changed, err := l.ensureImage(ctx, cache, spec, certs, p)
			if err != nil {
				return "", fmt.Errorf("%s: %w", spec.Ref, err)
			}
			if changed {
				outcome = plan.Changed
			}
		}
		return outcome, nil
	}
}

// ensureImage builds one image and puts it into the registry, where it is not there already.
func (l *Lab) ensureImage(ctx context.Context, cache *assets.Cache, spec image.Spec, certs []byte, p plan.Progress) (changed bool, err error) {
	options := image.Options{Certs: certs}
	if options.Programs, err = l.imagePrograms(ctx, cache, spec, p); err != nil {
		return false, err
	}
	if len(spec.Debian) > 0 {
		if options.Root, err = l.debianRoot(ctx, spec.Debian); err != nil {
			return false, err
		}
	}
	return l.pushImage(ctx, spec, options)
}

// pushImage puts an image together and into the registry. The cache remembers which digest came of which parts, so
// that an image that the registry has is not made again only to learn that.
func (l *Lab) pushImage(ctx context.Context, spec image.Spec, options image.Options) (bool, error) {
	key, err := imageKey(spec, options)
	if err != nil {
		return false, err
	}
	known := l.path("images", key)
	if want, err := os.ReadFile(known); err == nil {
		if have, err := pushed(ctx, spec.Ref); err == nil && have == string(want) {
			return false, nil
		}
	}
	img, err := image.Build(spec, options)
	if err != nil {
		return false, err
	}
	changed, err := push(ctx, spec.Ref, img)
	if err != nil {
		return false, err
	}
	sum, err := img.Digest()
	if err != nil {
		return false, err
	}
	return changed, replace(known, []byte(sum.String()))
}

// imageKey stands for all parts of an image. The names of what the cache keeps hold its content's key, but
// for the sample application's programs, which are built anew each time.
func imageKey(spec image.Spec, options image.Options) (string, error) {
	raw, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	parts := []string{"2", string(raw), options.Root, string(options.Certs)}
	for _, name := range slices.Sorted(maps.Keys(options.Programs)) {
		parts = append(parts, name, options.Programs[name])
		if _, own := spec.App[name]; !own {
			continue
		}
		program, err := os.ReadFile(options.Programs[name])
		if err != nil {
			return "", err
		}
		parts = append(parts, string(program))
	}
	return digest(parts...), nil
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
