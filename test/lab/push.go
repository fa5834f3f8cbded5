package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/yaml"

	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Media types of a chart in an OCI registry, as Helm pushes it.
const (
	chartConfig types.MediaType = "application/vnd.cncf.helm.config.v1+json"
	chartLayer  types.MediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// push puts an image into the registry under the repository and tag that a node would ask for; false
// when it was there already.
func push(ctx context.Context, ref string, img v1.Image) (bool, error) {
	target, err := inRegistry(ref)
	if err != nil {
		return false, err
	}
	want, err := img.Digest()
	if err != nil {
		return false, err
	}
	if have, err := remote.Head(target, remote.WithContext(ctx)); err == nil && have.Digest == want {
		return false, nil
	}
	return true, remote.Write(target, img, remote.WithContext(ctx))
}

// inRegistry is where the registry has what is called ref elsewhere: there, whatever its host.
func inRegistry(ref string) (name.Tag, error) {
	tag, err := name.NewTag(ref)
	if err != nil {
		return name.Tag{}, err
	}
	return name.NewTag(RegistryHost+"/"+tag.RepositoryStr()+":"+tag.TagStr(), name.Insecure)
}

// pushed is the digest of what the registry has under a name.
func pushed(ctx context.Context, ref string) (string, error) {
	target, err := inRegistry(ref)
	if err != nil {
		return "", err
	}
	have, err := remote.Head(target, remote.WithContext(ctx))
	if err != nil {
		return "", err
	}
	return have.Digest.String(), nil
}

// pushCharts packs the charts of test/lab/charts and puts them under charts/.
func (l *Lab) pushCharts(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	dir := l.src("test", "lab", "charts")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	outcome := plan.Unchanged
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		g.Go(func() error {
			changed, err := pushChart(ctx, filepath.Join(dir, entry.Name()))
			if err != nil {
				return fmt.Errorf("chart %s: %w", entry.Name(), err)
			}
			if changed {
				mu.Lock()
				defer mu.Unlock()
				outcome = plan.Changed
				p.Note("pushed the chart " + entry.Name())
			}
			return nil
		})
	}
	return outcome, g.Wait()
}

func pushChart(ctx context.Context, dir string) (bool, error) {
	archive, err := helm.Pack(os.DirFS(dir), ".")
	if err != nil {
		return false, err
	}
	raw, err := os.ReadFile(filepath.Join(dir, "Chart.yaml"))
	if err != nil {
		return false, err
	}
	var meta map[string]any
	if err := yaml.Unmarshal(raw, &meta); err != nil {
		return false, err
	}
	config, err := json.Marshal(meta)
	if err != nil {
		return false, err
	}
	img, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1),
		mutate.Addendum{Layer: static.NewLayer(archive, chartLayer), MediaType: chartLayer})
	if err != nil {
		return false, err
	}
	version := strings.ReplaceAll(fmt.Sprint(meta["version"]), "+", "_")
	return push(ctx, path.Join("example.com/charts", fmt.Sprint(meta["name"]))+":"+version, chartImage{img, config})
}

// chartImage is an image whose configuration is the chart's metadata, as Helm has it.
type chartImage struct {
	v1.Image
	config []byte
}

func (c chartImage) RawConfigFile() ([]byte, error) { return c.config, nil }

func (c chartImage) ConfigName() (v1.Hash, error) {
	hash, _, err := v1.SHA256(strings.NewReader(string(c.config)))
	return hash, err
}

func (c chartImage) Manifest() (*v1.Manifest, error) {
	m, err := c.Image.Manifest()
	if err != nil {
		return nil, err
	}
	m = m.DeepCopy()
	hash, err := c.ConfigName()
	m.Config = v1.Descriptor{MediaType: chartConfig, Size: int64(len(c.config)), Digest: hash}
	return m, err
}

func (c chartImage) RawManifest() ([]byte, error) {
	m, err := c.Manifest()
	if err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

func (c chartImage) Digest() (v1.Hash, error) {
	raw, err := c.RawManifest()
	if err != nil {
		return v1.Hash{}, err
	}
	hash, _, err := v1.SHA256(strings.NewReader(string(raw)))
	return hash, err
}

func (c chartImage) Size() (int64, error) {
	raw, err := c.RawManifest()
	return int64(len(raw)), err
}
