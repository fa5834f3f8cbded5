package helm

import (
	"fmt"
	"net/url"
	"slices"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/repo"
	"sigs.k8s.io/yaml"
)

// chartName reads the name out of a Chart.yaml.
func chartName(raw []byte) (string, error) {
	var meta chart.Metadata
	if err := yaml.Unmarshal(raw, &meta); err != nil {
		return "", fmt.Errorf("cannot read Chart.yaml: %w", err)
	}
	if meta.Name == "" || strings.ContainsAny(meta.Name, `/\`) {
		return "", fmt.Errorf("the name %q in Chart.yaml is none", meta.Name)
	}
	return meta.Name, nil
}

// Located is where a chart repository says that an archive is.
type Located struct {
	URL    string
	Digest string // sha256:…, empty where the index has none
}

// OtherSpelling is a version with the v before it, or without: charts and their documents write it in both ways, and mean the
// same.
func OtherSpelling(version string) string {
	if bare, ok := strings.CutPrefix(version, "v"); ok {
		return bare
	}
	return "v" + version
}

// Locate finds a chart's archive in the index of the repository at base, by the version as it is written or else in its other
// spelling. For an unknown version the error names those that there are.
func Locate(index []byte, base, name, version string) (*Located, error) {
	var file repo.IndexFile
	if err := yaml.Unmarshal(index, &file); err != nil {
		return nil, fmt.Errorf("cannot read index.yaml: %w", err)
	}
	found, ok := file.Entries[name]
	if !ok {
		return nil, fmt.Errorf("the repository has no chart %s", name)
	}
	found = slices.DeleteFunc(found, func(v *repo.ChartVersion) bool { return v == nil || v.Metadata == nil })
	sort.Sort(sort.Reverse(found))
	for _, spelling := range []string{version, OtherSpelling(version)} {
		for _, v := range found {
			if v.Version == spelling && len(v.URLs) > 0 {
				return locate(v, base)
			}
		}
	}
	return nil, fmt.Errorf("chart %s has no version %s, there are: %s", name, version, versions(found))
}

func locate(v *repo.ChartVersion, base string) (*Located, error) {
	address, err := repo.ResolveReferenceURL(base, v.URLs[0])
	if err != nil {
		return nil, err
	}
	if _, err := url.Parse(address); err != nil {
		return nil, err
	}
	digest := v.Digest
	if digest != "" && !strings.HasPrefix(digest, "sha256:") {
		digest = "sha256:" + digest
	}
	return &Located{URL: address, Digest: digest}, nil
}

func versions(found repo.ChartVersions) string {
	var all []string
	for i, v := range found {
		if i == 8 {
			all = append(all, "…")
			break
		}
		all = append(all, v.Version)
	}
	return strings.Join(all, ", ")
}
