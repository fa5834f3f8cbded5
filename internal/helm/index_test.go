package helm_test

import (
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/helm"
)

const index = `
apiVersion: v1
entries:
  app:
  - {name: app, version: 1.0.0, urls: [charts/app-1.0.0.tgz], digest: aaaa}
  - {name: app, version: 1.10.0, urls: ["https://cdn.example.com/app-1.10.0.tgz"], digest: "sha256:bbbb"}
  - {name: app, version: 1.9.0, urls: [app-1.9.0.tgz]}
  - {name: app, version: v1.8.0, urls: [app-v1.8.0.tgz]}
  - {name: app, version: v1.7.0, urls: [app-v1.7.0.tgz]}
  - {name: app, version: 1.7.0, urls: [app-1.7.0.tgz]}
  - {name: app, version: 0.1.0, urls: []}
`

func TestLocate(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]helm.Located{
		"1.0.0":  {URL: "https://charts.example.com/stable/charts/app-1.0.0.tgz", Digest: "sha256:aaaa"},
		"1.10.0": {URL: "https://cdn.example.com/app-1.10.0.tgz", Digest: "sha256:bbbb"},
		"1.9.0":  {URL: "https://charts.example.com/stable/app-1.9.0.tgz"},
		"v1.9.0": {URL: "https://charts.example.com/stable/app-1.9.0.tgz"},
		"1.8.0":  {URL: "https://charts.example.com/stable/app-v1.8.0.tgz"},
		"1.7.0":  {URL: "https://charts.example.com/stable/app-1.7.0.tgz"},
		"v1.7.0": {URL: "https://charts.example.com/stable/app-v1.7.0.tgz"},
	} {
		got, err := helm.Locate([]byte(index), "https://charts.example.com/stable/", "app", version)
		if err != nil || *got != want {
			t.Errorf("%s: got %v, %v, want %v", version, got, err, want)
		}
	}
	for name, c := range map[string]struct{ index, chart, version, says string }{
		"a version that is not there":  {index, "app", "2.0.0", "there are: 1.10.0, 1.9.0, v1.8.0"},
		"a version without an archive": {index, "app", "0.1.0", "no version 0.1.0"},
		"a chart that is not there":    {index, "web", "1.0.0", "no chart web"},
		"an index that is none":        {"<html>", "app", "1.0.0", "index.yaml"},
	} {
		_, err := helm.Locate([]byte(c.index), "https://charts.example.com/", c.chart, c.version)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
}

func TestAnIndexWithEntriesThatSayNothing(t *testing.T) {
	t.Parallel()
	const index = "entries:\n  none: \n  app:\n  -\n  - {name: app, version: 1.0.0, urls: [a.tgz]}\n  - {}\n  - urls: [b.tgz]\n  - null\n" +
		"  - {name: app, version: 1.1.0, urls: [c.tgz]}\n  other: [null, {}]\n"
	got, err := helm.Locate([]byte(index), "https://charts.example.com/", "app", "1.0.0")
	if err != nil || got.URL != "https://charts.example.com/a.tgz" {
		t.Errorf("got %v, %v", got, err)
	}
	for chart, says := range map[string]string{"app": "there are: 1.1.0, 1.0.0", "other": "no version 2.0.0", "none": "no version 2.0.0"} {
		if _, err := helm.Locate([]byte(index), "https://charts.example.com/", chart, "2.0.0"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", chart, err, says)
		}
	}
}
