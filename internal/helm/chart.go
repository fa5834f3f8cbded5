// Package helm installs one chart from bytes: render, ensure, unlock, remove. It is the only importer of
// Helm, so that Helm's next major version is a change of this package alone.
//
// Three things that Helm's library does are kept from happening. Its own wait polls without a
// context: readiness is told by internal/kube's watcher. Its cancellation leaves a goroutine behind that goes on
// creating objects: every call that changes something passes a [guard], which refuses once the context is
// done, and Ensure returns only when Helm has. And every install makes a new revision: a
// release whose inputs and objects are as they should be is left alone.
package helm

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	kubefake "helm.sh/helm/v3/pkg/kube/fake"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// defaultKubeVersion is that of the libraries here. Helm's own default is v1.20, where its linker does not set it.
const defaultKubeVersion = "v1.37.2"

// Chart is a loaded chart archive.
type Chart struct {
	Digest string // sha256:… of the archive

	chart *chart.Chart
}

// Load reads a chart archive. A chart whose dependencies are declared but not in the archive is refused.
func Load(archive []byte) (*Chart, error) {
	c, err := loader.LoadArchive(bytes.NewReader(archive))
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "not a chart archive")
	}
	if c.Metadata.Type == "library" {
		return nil, fault.New(fault.Usage, "%s is a library chart: it cannot be installed", c.Name())
	}
	if err := action.CheckDependencies(c, c.Metadata.Dependencies); err != nil {
		return nil, fault.Wrap(err, fault.Usage, "the chart %s is incomplete", c.Name()).
			WithHint("run helm dependency build in the chart's folder and commit its charts/")
	}
	return &Chart{Digest: Digest(archive), chart: c}, nil
}

// Digest is sha256:… of an archive.
func Digest(archive []byte) string {
	sum := sha256.Sum256(archive)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Name is the chart's own.
func (c *Chart) Name() string { return c.chart.Name() }

// Version is the chart's own.
func (c *Chart) Version() string { return c.chart.Metadata.Version }

// CRDs gives what is in the crds/ folders of the chart and of those of its dependencies that the values enable.
func (c *Chart) CRDs(values map[string]any) ([]*unstructured.Unstructured, error) {
	if err := chartutil.ProcessDependenciesWithMerge(c.chart, copyOf(values)); err != nil { // which takes the others away
		return nil, c.unrendered(err)
	}
	var all []*unstructured.Unstructured
	for _, crd := range c.chart.CRDObjects() {
		objs, err := kube.ParseManifest(crd.File.Data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", crd.Filename, err)
		}
		all = append(all, objs...)
	}
	return all, nil
}

// MergeValues lays values over each other, the later ones winning, as Helm does with several files: a null stays, for it
// takes a default of the chart away.
func MergeValues(layers ...map[string]any) map[string]any {
	merged := map[string]any{}
	for _, layer := range layers {
		overlay(merged, copyOf(layer))
	}
	return merged
}

func overlay(under, over map[string]any) {
	for key, value := range over {
		table, isTable := value.(map[string]any)
		below, hasTable := under[key].(map[string]any)
		if isTable && hasTable {
			overlay(below, table)
		} else {
			under[key] = value
		}
	}
}

func copyOf(m map[string]any) map[string]any {
	c := make(map[string]any, len(m))
	for k, v := range m {
		if inner, ok := v.(map[string]any); ok {
			v = copyOf(inner)
		}
		c[k] = v
	}
	return c
}

// ReadValues reads a values file as Helm does.
func ReadValues(raw []byte) (map[string]any, error) { return chartutil.ReadValues(raw) }

// Render renders the chart without a cluster: what a template looks up there is empty, and the kinds that it may ask for are
// those of Kubernetes and of the CRDs that are there when the chart is installed. Values that the chart's schema refuses, and
// a Kubernetes version that it does not support, are faults.
func (c *Chart) Render(name, namespace, kubeVersion string, values map[string]any, crds []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	declared := kubeVersion != ""
	if !declared {
		kubeVersion = defaultKubeVersion
	}
	v, err := chartutil.ParseKubeVersion(kubeVersion)
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "Kubernetes version %q", kubeVersion)
	}
	caps := *chartutil.DefaultCapabilities
	caps.KubeVersion = *v
	cfg := &action.Configuration{
		Capabilities: &caps, Releases: storage.Init(driver.NewMemory()),
		KubeClient: &kubefake.PrintingKubeClient{Out: io.Discard}, Log: func(string, ...any) {},
	}
	install := action.NewInstall(cfg)
	install.ReleaseName, install.Namespace = name, namespace
	install.ClientOnly, install.DryRun, install.SkipCRDs = true, true, true
	install.KubeVersion, install.APIVersions = &caps.KubeVersion, apisOf(crds)
	rel, err := install.Run(c.chart, copyOf(values))
	if err != nil {
		f := c.unrendered(err)
		if wants := c.chart.Metadata.KubeVersion; !declared && wants != "" && !chartutil.IsCompatibleRange(wants, kubeVersion) {
			return nil, f.WithHint("the documents name no version of Kubernetes, so %s is assumed: set spec.kubernetes.version", defaultKubeVersion)
		}
		return nil, f
	}
	if err := c.recordable(rel); err != nil {
		return nil, err
	}
	return c.parse(rel.Manifest)
}

// renderIn renders a release as an install in a cluster would, which can look up what is there. It changes nothing.
func (c *Chart) renderIn(cluster *action.Configuration, r Release) ([]*unstructured.Unstructured, error) {
	install := action.NewInstall(&action.Configuration{
		RESTClientGetter: cluster.RESTClientGetter, Capabilities: cluster.Capabilities, Releases: storage.Init(driver.NewMemory()),
		KubeClient: &kubefake.PrintingKubeClient{Out: io.Discard}, Log: func(string, ...any) {},
	})
	install.ReleaseName, install.Namespace = r.Name, r.Namespace
	install.DryRun, install.DryRunOption, install.SkipCRDs = true, "server", true
	rel, err := install.Run(c.chart, copyOf(r.Values))
	if err != nil {
		return nil, c.unrendered(err)
	}
	return c.parse(rel.Manifest)
}

// parse reads the objects of a manifest. What is no object is told with its template.
func (c *Chart) parse(manifest string) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for part := range strings.SplitSeq(manifest, "---\n# Source: ") {
		template, content, _ := strings.Cut(part, "\n")
		objs, err := kube.ParseManifest([]byte(content))
		if err != nil {
			return nil, c.unrendered(fmt.Errorf("%s: %w", template, err))
		}
		all = append(all, objs...)
	}
	return all, nil
}

// maxRecord is how large a Secret may be, in bytes: Helm keeps each revision in one.
const maxRecord = 1 << 20

// recordable refuses a release that Helm would render, and then could not record: it records the whole chart with it.
func (c *Chart) recordable(rel *release.Release) error {
	raw, err := json.Marshal(rel)
	if err != nil || len(raw) < maxRecord/2 { // compression may make a little more of it, never so much
		return err
	}
	var packed bytes.Buffer
	zip, err := gzip.NewWriterLevel(&packed, gzip.BestCompression) // as Helm does
	if err != nil {
		return err
	}
	if _, err := zip.Write(raw); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	if size := base64.StdEncoding.EncodedLen(packed.Len()); size > maxRecord {
		return fault.New(fault.Usage, "the chart %s %s is too large: Helm records it with what it renders to in a Secret, of %d KiB, and a Secret has at most %d",
			c.Name(), c.Version(), size>>10, maxRecord>>10).WithHint("take what no template needs out of the chart, by its .helmignore, or split it")
	}
	return nil
}

func (c *Chart) unrendered(err error) *fault.Error {
	return fault.New(fault.Usage, "the chart %s %s does not render: %s", c.Name(), c.Version(), withoutValues(strings.TrimSpace(err.Error())))
}

// apisOf names the kinds that CRDs bring.
func apisOf(crds []*unstructured.Unstructured) chartutil.VersionSet {
	var set chartutil.VersionSet
	for _, crd := range crds {
		group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
		versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
		for _, v := range versions {
			if v, ok := v.(map[string]any); ok {
				set = append(set, fmt.Sprintf("%s/%s", group, v["name"]), fmt.Sprintf("%s/%s/%s", group, v["name"], kind))
			}
		}
	}
	return set
}

// Inputs is a short digest of everything that decides what a release installs.
func (c *Chart) Inputs(values map[string]any) (string, error) {
	raw, err := json.Marshal(values)
	if err != nil {
		return "", fmt.Errorf("values: %w", err)
	}
	sum := sha256.Sum256(append([]byte(c.Digest+"\n"), raw...))
	return hex.EncodeToString(sum[:16]), nil
}
