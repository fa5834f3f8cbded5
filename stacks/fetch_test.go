package stacks_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/stacks"
)

const wrong = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

func TestAChartOfTheRepositoryIsAFolderOrAnArchive(t *testing.T) {
	t.Parallel()
	archive := packed(t, map[string]string{"templates/x.yaml": configMap})
	s := fetched(t, repository("- {name: a, namespace: x, chart: ./charts/app}\n- {name: b, namespace: x, chart: ../app.tgz, digest: "+helm.Digest(archive)+"}\n",
		both(chartOf("charts/app", map[string]string{"templates/x.yaml": configMap}), map[string]string{"sub/x": ""})).with("app.tgz", archive), stacks.Options{})
	if a, b := s.Releases[0].Inputs()["chart"], s.Releases[1].Inputs()["chart"]; a != b || a != helm.Digest(archive) {
		t.Errorf("a folder is %s, its archive %s", a, b)
	}
	for release, says := range map[string][]string{
		"- {name: a, namespace: x, chart: ./gone}":                              {"stacks/platform.yaml:5", "no such folder or archive"},
		"- {name: a, namespace: x, chart: ./empty}":                             {"not a chart"},
		"- {name: a, namespace: x, chart: ../app.tgz, digest: '" + wrong + "'}": {wrong, helm.Digest(archive), "find out who"},
	} {
		err := fetchFault(t, repository(release+"\n", map[string]string{"empty/x": ""}).with("app.tgz", archive))
		wants(t, err, fault.KindOf(err), append(says, "release a")...)
		if refused := fault.KindOf(err) == fault.Refused; refused != strings.Contains(release, wrong) {
			t.Errorf("%s: kind %d", release, fault.KindOf(err))
		}
	}
}

// chartRepository serves an archive and an index in which %s stands for the entry's digest.
func chartRepository(t *testing.T, archive []byte, digest string) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	mux := http.NewServeMux()
	mux.HandleFunc("/stable/index.yaml", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprintf(w, "apiVersion: v1\nentries:\n  app:\n  - {name: app, version: 1.0.0, urls: [app.tgz], digest: %q}\n  - {name: app, version: 0.9.0, urls: [gone.tgz]}\n", digest)
	})
	mux.HandleFunc("/stable/app.tgz", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write(archive)
	})
	mux.HandleFunc("/busy/index.yaml", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/closed/index.yaml", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL, asked
}

func TestAChartRepositoryIsCheckedAgainstItsIndex(t *testing.T) {
	t.Parallel()
	archive := packed(t, nil)
	sum := sha256.Sum256(archive)
	for name, c := range map[string]struct {
		digest string
		fails  bool
	}{
		"right":  {hex.EncodeToString(sum[:]), false},
		"prefix": {helm.Digest(archive), false},
		"absent": {"", false},
		"wrong":  {wrong, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, _ := chartRepository(t, archive, c.digest)
			s := newStack(t, repository("- {name: a, namespace: x, chart: app, version: 1.0.0, repo: '"+url+"/stable'}\n", nil), stacks.Options{})
			err := s.Fetch(t.Context(), stacks.NewFetcher(t.TempDir()), nil)
			if !c.fails && err != nil {
				t.Error(err)
			}
			if c.fails {
				wants(t, err, fault.Refused, wrong, helm.Digest(archive), "index")
			}
		})
	}
}

func TestWhatAChartRepositoryDoesNotHave(t *testing.T) {
	t.Parallel()
	url, _ := chartRepository(t, packed(t, nil), "")
	for _, c := range []struct {
		release   string
		kind      fault.Kind
		transient bool
		says      []string
	}{
		{"chart: app, version: 2.0.0, repo: 'URL/stable'", fault.Usage, false, []string{"no version 2.0.0", "1.0.0, 0.9.0"}},
		{"chart: web, version: 1.0.0, repo: 'URL/stable'", fault.Usage, false, []string{"no chart web"}},
		{"chart: app, version: 0.9.0, repo: 'URL/stable'", fault.Usage, false, []string{"gone.tgz", "no such file"}},
		{"chart: app, version: 1.0.0, repo: 'URL/none'", fault.Usage, false, []string{"index.yaml", "no such file"}},
		{"chart: app, version: 1.0.0, repo: 'URL/closed'", fault.Failed, false, []string{"403"}},
		{"chart: app, version: 1.0.0, repo: 'URL/busy'", fault.Failed, true, []string{"503"}},
		{"chart: app, version: 1.0.0, repo: 'http://127.0.0.1:1'", fault.Failed, true, []string{"connection refused", "see whether the address is right"}},
		{"chart: 'oci://127.0.0.1:1/app', version: 1.0.0", fault.Failed, true, []string{"connection refused"}},
	} {
		err := fetchFault(t, repository("- {name: a, namespace: x, "+strings.ReplaceAll(c.release, "URL", url)+"}\n", nil))
		wants(t, err, c.kind, append(c.says, "stacks/platform.yaml:5: release a")...)
		if fault.IsTransient(err) != c.transient {
			t.Errorf("%s: transient %v", c.release, !c.transient)
		}
	}
}

// ociRegistry is a registry in this process with a chart, and an image that is none.
func ociRegistry(t *testing.T, archive []byte) (host string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "http://")
	for tag, media := range map[string]types.MediaType{
		"charts/app:1.0.0": chartMedia, "charts/app:1.0.1_build.3": chartMedia, "images/app:1.0.0": types.OCILayer, "charts/app:v1.2.0": chartMedia,
	} {
		push(t, host+"/"+tag, media, archive)
	}
	asked.Store(0)
	return host, asked
}

// chartMedia is the media type that Helm gives to charts.
const chartMedia = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

// push puts an artifact of one layer into a registry.
func push(t *testing.T, to string, media types.MediaType, content []byte) {
	t.Helper()
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), static.NewLayer(content, media))
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(to, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func TestAChartFromAnOCIRegistry(t *testing.T) {
	t.Parallel()
	archive := packed(t, nil)
	host, _ := ociRegistry(t, archive)
	for _, c := range []struct {
		release string
		kind    fault.Kind
		says    []string
	}{
		{"charts/app', version: 1.0.0", 0, nil},
		{"charts/app', version: 1.0.1+build.3", 0, nil},
		{"charts/app', version: 1.2.0", 0, nil},
		{"charts/app', version: v1.0.0", 0, nil},
		{"charts/app', version: 1.0.0, digest: '" + helm.Digest(archive) + "'", 0, nil},
		{"charts/app', version: 1.0.0, digest: '" + wrong + "'", fault.Refused, []string{wrong, helm.Digest(archive)}},
		{"charts/app', version: 2.0.0", fault.Usage, []string{"charts/app:2.0.0", "1.0.0, 1.0.1"}},
		{"charts/gone', version: 1.0.0", fault.Usage, []string{"charts/gone:1.0.0"}},
		{"images/app', version: 1.0.0", fault.Usage, []string{"is not a Helm chart"}},
	} {
		s := newStack(t, repository("- {name: a, namespace: x, chart: 'oci://"+host+"/"+c.release+"}\n", nil), stacks.Options{})
		err := s.Fetch(t.Context(), stacks.NewFetcher(t.TempDir()), nil)
		switch {
		case c.kind != 0:
			wants(t, err, c.kind, append(c.says, "stacks/platform.yaml:5: release a")...)
		case err != nil || s.Releases[0].Inputs()["chart"] != helm.Digest(archive):
			t.Errorf("%s: %v", c.release, err)
		}
	}
}

func TestACachedChartNeedsNoNetwork(t *testing.T) {
	t.Parallel()
	archive := packed(t, nil)
	host, asked := ociRegistry(t, archive)
	dir := filepath.Join(t.TempDir(), "charts")
	fetch := func(digest string) error {
		t.Helper()
		asked.Store(0)
		s := newStack(t, repository("- {name: a, namespace: x, chart: 'oci://"+host+"/charts/app', version: 1.0.0"+digest+"}\n", nil), stacks.Options{})
		return s.Fetch(t.Context(), stacks.NewFetcher(dir), nil)
	}
	pinned := ", digest: '" + helm.Digest(archive) + "'"
	if err := fetch(""); err != nil || asked.Load() == 0 {
		t.Fatalf("%v after %d requests", err, asked.Load())
	}
	if err := fetch(pinned); err != nil || asked.Load() != 0 {
		t.Errorf("one with a digest that is cached: %v after %d requests", err, asked.Load())
	}
	if err := fetch(""); err != nil || asked.Load() == 0 {
		t.Errorf("one without a digest: %v after %d requests, a version may move", err, asked.Load())
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("in the cache: %v, %v", files, err)
	}
	if err := os.WriteFile(files[0], archive[:len(archive)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fetch(pinned); err != nil || asked.Load() == 0 {
		t.Errorf("with a damaged cache: %v after %d requests", err, asked.Load())
	}
	if err := fetch(pinned); err != nil || asked.Load() != 0 {
		t.Errorf("then: %v after %d requests", err, asked.Load())
	}
}

// TestAWarmCacheHidesNoChange changes what the document or the repository says, but not the digest of the chart that was
// fetched before.
func TestAWarmCacheHidesNoChange(t *testing.T) {
	t.Parallel()
	old, edited := packed(t, nil), packed(t, map[string]string{"values.yaml": "a: 1\n"})
	other := packed(t, map[string]string{"Chart.yaml": "apiVersion: v2\nname: app\nversion: 2.0.0\n"})
	host, _ := ociRegistry(t, old)
	push(t, host+"/charts/app:2.0.0", chartMedia, other)
	push(t, host+"/charts/web:1.0.0", chartMedia, edited)
	dir, pinned := t.TempDir(), ", digest: '"+helm.Digest(old)+"'"
	fetch := func(chart string, fsys repo) error {
		t.Helper()
		for name, file := range repository("- {name: a, namespace: x, "+chart+pinned+"}\n", nil) {
			fsys[name] = file
		}
		return newStack(t, fsys, stacks.Options{}).Fetch(t.Context(), stacks.NewFetcher(dir), nil)
	}
	if err := fetch("chart: 'oci://"+host+"/charts/app', version: 1.0.0", repo{}); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"another version":            fetch("chart: 'oci://"+host+"/charts/app', version: 2.0.0", repo{}),
		"another chart":              fetch("chart: 'oci://"+host+"/charts/web', version: 1.0.0", repo{}),
		"an archive that was edited": fetch("chart: ../app.tgz", repo{}.with("app.tgz", edited)),
	} {
		if err == nil {
			t.Errorf("%s: what was cached is taken for it", name)
			continue
		}
		wants(t, err, fault.Refused, "the document requires "+helm.Digest(old), "before you change the digest")
	}
	if err := fetch("chart: ../app.tgz", repo{}.with("app.tgz", old)); err != nil {
		t.Error(err)
	}
}

// TestAChartRepositoryMayPointToARegistry has an index as that of Bitnami.
func TestAChartRepositoryMayPointToARegistry(t *testing.T) {
	t.Parallel()
	archive := packed(t, nil)
	host, _ := ociRegistry(t, archive)
	mux := http.NewServeMux()
	mux.HandleFunc("/index.yaml", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "entries:\n  app:\n  - {name: app, version: 1.0.0, urls: ['oci://%[1]s/charts/app:1.0.0'], digest: %[2]q}\n"+
			"  - {name: app, version: 1.0.1+build.3, urls: ['oci://%[1]s/charts/app']}\n"+
			"  - {name: app, version: 3.0.0, urls: ['oci://%[1]s/charts/app:3.0.0']}\n", host, helm.Digest(archive))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	for _, version := range []string{"1.0.0", "1.0.1+build.3"} {
		s := fetched(t, repository("- {name: a, namespace: x, chart: app, version: "+version+", repo: '"+server.URL+"'}\n", nil), stacks.Options{})
		if got := s.Releases[0].Inputs()["chart"]; got != helm.Digest(archive) {
			t.Errorf("%s: got %s", version, got)
		}
	}
	err := fetchFault(t, repository("- {name: a, namespace: x, chart: app, version: 3.0.0, repo: '"+server.URL+"'}\n", nil))
	wants(t, err, fault.Usage, "the registry has no "+host+"/charts/app:3.0.0", "stacks/platform.yaml:5: release a")
}

func TestACacheThatCanNotBeWrittenIsAWarning(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStack(t, repository("- {name: a, namespace: x, chart: ./app}\n", chartOf("app", nil)), stacks.Options{})
	warned := ""
	err := s.Fetch(t.Context(), stacks.NewFetcher(filepath.Join(file, "charts")), func(u plan.Update) { warned += u.Warning })
	if err != nil || !strings.Contains(warned, "cache cannot be written") {
		t.Errorf("warned %q, %v", warned, err)
	}
}

func TestACancelledFetchIsAnInterruption(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	for _, chart := range []string{"chart: app, repo: '" + server.URL + "'", "chart: 'oci://" + strings.TrimPrefix(server.URL, "http://") + "/app'"} {
		s := newStack(t, repository("- {name: a, namespace: x, version: 1.0.0, "+chart+"}\n", nil), stacks.Options{})
		err := s.Fetch(ctx, stacks.NewFetcher(t.TempDir()), nil)
		if fault.Code(err) != fault.ExitInterrupted || fault.IsTransient(err) {
			t.Errorf("%s: %v", chart, err)
		}
	}
}
