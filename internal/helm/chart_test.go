package helm_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"helm.sh/helm/v3/pkg/cli/values"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
)

func TestAChartAlwaysHasTheSameDigest(t *testing.T) {
	t.Parallel()
	files := map[string]string{"values.yaml": "a: 1\n", "templates/x.yaml": configMap, ".helmignore": "*.bak\nsecret/\n"}
	first := pack(t, files)
	files["values.yaml.bak"], files["secret/key"] = "a: 2\n", "hunter2"
	second := pack(t, files)
	if helm.Digest(first) != helm.Digest(second) {
		t.Error("ignored files change the digest")
	}
	names := namesIn(t, second)
	if want := []string{"app/.helmignore", "app/Chart.yaml", "app/templates/x.yaml", "app/values.yaml"}; !slices.Equal(names, want) {
		t.Errorf("it holds %v, want %v", names, want)
	}
	files["values.yaml"] = "a: 3\n"
	if helm.Digest(first) == helm.Digest(pack(t, files)) {
		t.Error("another content has the same digest")
	}
}

func namesIn(t *testing.T, archive []byte) (names []string) {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(zip)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

func TestWhatIsNoChartIsRefused(t *testing.T) {
	t.Parallel()
	link := fstest.MapFS{
		"app/Chart.yaml": {Data: []byte("apiVersion: v2\nname: app\nversion: 1.0.0\n")},
		"app/link":       {Data: []byte("/etc/passwd"), Mode: fs.ModeSymlink},
	}
	for name, c := range map[string]struct {
		fsys fstest.MapFS
		says string
	}{
		"a folder without Chart.yaml": {fstest.MapFS{"app/values.yaml": {}}, "not a chart"},
		"a Chart.yaml without a name": {fstest.MapFS{"app/Chart.yaml": {Data: []byte("version: 1.0.0")}}, "the name"},
		"a name that climbs":          {fstest.MapFS{"app/Chart.yaml": {Data: []byte("name: ../../x")}}, "the name"},
		"a link":                      {link, "is not a regular file"},
	} {
		if _, err := helm.Pack(c.fsys, "app"); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
	for name, c := range map[string]struct {
		archive []byte
		says    string
	}{
		"no archive":           {[]byte("hello"), "not a chart archive"},
		"a library":            {pack(t, map[string]string{"Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\ntype: library\n"}), "library chart"},
		"without dependencies": {pack(t, map[string]string{"Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies: [{name: redis, version: 1.x.x, repository: https://example.com}]\n"}), "redis"},
	} {
		if _, err := helm.Load(c.archive); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
}

func TestRenderSeesTheDeclaredVersionAndTheChartsOwnKinds(t *testing.T) {
	t.Parallel()
	c := chart(t, map[string]string{
		"templates/x.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n" +
			"  version: {{ .Capabilities.KubeVersion.Version | quote }}\n" +
			"  own: {{ .Capabilities.APIVersions.Has \"own.example.com/v1/Thing\" | quote }}\n" +
			"  other: {{ .Capabilities.APIVersions.Has \"other.example.com/v1/Thing\" | quote }}\n",
		"crds/thing.yaml": crd("thing", "object"),
	})
	crds, err := c.CRDs(nil)
	if err != nil || len(crds) != 1 || crds[0].GetName() != "things.own.example.com" {
		t.Fatalf("CRDs %v, %v", crds, err)
	}
	for declared, want := range map[string]string{"": "v1.37.2", "1.36": "v1.36", "v1.35.4": "v1.35.4"} {
		objs, err := c.Render("x", "default", declared, nil, crds)
		if err != nil || len(objs) != 1 {
			t.Fatalf("%q: %d objects, %v", declared, len(objs), err)
		}
		data := objs[0].Object["data"].(map[string]any)
		if data["version"] != want || data["own"] != "true" || data["other"] != "false" {
			t.Errorf("%q: %v, want version %s", declared, data, want)
		}
	}
}

func TestCRDsOfADisabledSubChartAreNone(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies:\n" +
			"- {name: sub, version: 1.0.0, condition: sub.enabled}\n- {name: always, version: 1.0.0}\n",
		"values.yaml":                    "sub: {enabled: false}\n",
		"templates/x.yaml":               "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {has: {{ .Capabilities.APIVersions.Has \"own.example.com/v1/Thing\" | quote }}}\n",
		"charts/sub/Chart.yaml":          "apiVersion: v2\nname: sub\nversion: 1.0.0\n",
		"charts/sub/crds/thing.yaml":     crd("thing", "object"),
		"charts/always/Chart.yaml":       "apiVersion: v2\nname: always\nversion: 1.0.0\n",
		"charts/always/crds/always.yaml": crd("other", "object"),
	}
	for enabled, want := range map[bool][]string{false: {"others.own.example.com"}, true: {"others.own.example.com", "things.own.example.com"}} {
		c := chart(t, files)
		values := map[string]any{"sub": map[string]any{"enabled": enabled}}
		crds, err := c.CRDs(values)
		if err != nil {
			t.Fatal(err)
		}
		objs, err := c.Render("x", "default", "", values, crds)
		if err != nil || len(objs) != 1 {
			t.Fatalf("%d objects, %v", len(objs), err)
		}
		if has := objs[0].Object["data"].(map[string]any)["has"]; has != fmt.Sprint(enabled) {
			t.Errorf("enabled is %v: its templates see its kind: %s", enabled, has)
		}
		var names []string
		for _, crd := range crds {
			names = append(names, crd.GetName())
		}
		if slices.Sort(names); !slices.Equal(names, want) {
			t.Errorf("enabled is %v: CRDs %v, want %v", enabled, names, want)
		}
	}
}

func TestTheAssumedVersionIsTold(t *testing.T) {
	t.Parallel()
	c := chart(t, map[string]string{"Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\nkubeVersion: '<1.35.0'\n"})
	_, err := c.Render("x", "default", "", nil, nil)
	if hints := fmt.Sprint(fault.Hints(err)); !strings.Contains(hints, "v1.37.2 is assumed") || !strings.Contains(hints, "set spec.kubernetes.version") {
		t.Errorf("hints %s of %v", hints, err)
	}
	if _, err := c.Render("x", "default", "1.36", nil, nil); err == nil || len(fault.Hints(err)) > 0 {
		t.Errorf("of a version that is declared: %v, hints %s", err, fault.Hints(err))
	}
	if _, err := c.Render("x", "default", "1.34", nil, nil); err != nil {
		t.Error(err)
	}
}

func crd(kind, typ string) string {
	return strings.NewReplacer("KIND", kind, "TITLE", strings.ToUpper(kind[:1])+kind[1:], "TYPE", typ).Replace(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: KINDs.own.example.com}
spec:
  group: own.example.com
  scope: Namespaced
  names: {kind: TITLE, plural: KINDs}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: TYPE}}}]
`)
}

func TestWhatDoesNotRenderIsAFaultOfTheDocuments(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		says  string
	}{
		"a template that fails":      {map[string]string{"templates/x.yaml": `{{ fail "set a host" }}`}, "set a host"},
		"a template with no end":     {map[string]string{"templates/x.yaml": `{{ if true }}`}, "templates/x.yaml:1"},
		"values against the schema":  {map[string]string{"values.schema.json": `{"properties":{"size":{"type":"integer"}}}`}, "size"},
		"a Kubernetes it is not for": {map[string]string{"Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\nkubeVersion: '>=1.99.0'\n"}, "1.99"},
	} {
		_, err := chart(t, c.files).Render("x", "default", "", map[string]any{"size": "big"}, nil)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "app 1.0.0") {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
	if _, err := chart(t, nil).Render("x", "default", "one", nil, nil); fault.KindOf(err) != fault.Usage {
		t.Errorf("a version that is none: %v", err)
	}
}

func TestInputsTellEveryChange(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	one, two := chart(t, nil), chart(t, map[string]string{"values.yaml": "a: 1\n"})
	for _, c := range []*helm.Chart{one, two} {
		for _, values := range []map[string]any{nil, {"a": 1}, {"a": "1"}, {"a": map[string]any{"b": nil}}} {
			inputs, err := c.Inputs(values)
			if err != nil {
				t.Fatal(err)
			}
			again, _ := c.Inputs(helm.MergeValues(values))
			if again != inputs && values != nil {
				t.Errorf("a copy of %v is taken for another", values)
			}
			seen[inputs] = true
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d different of 8", len(seen))
	}
}

// FuzzMergeValues compares the merge of values with that of the helm command.
func FuzzMergeValues(f *testing.F) {
	for _, seed := range [][3]string{
		{"a: 1", "a: null", "b: 2"},
		{"a: {b: 1, c: 2}", "a: {b: null}", "a: {d: {e: 1}}"},
		{"a: {b: 1}", "a: text", "a: [1, 2]"},
		{"a: [1]", "a: {b: 1}", ""},
		{"a: {b: {c: 1}}", "a: {b: 1}", "a: {b: {d: 1}}"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, first, second, third string) {
		var layers []map[string]any
		var options values.Options
		dir := t.TempDir()
		for i, raw := range []string{first, second, third} {
			layer, err := helm.ReadValues([]byte(raw))
			if err != nil {
				t.Skip("no values")
			}
			layers = append(layers, layer)
			file := filepath.Join(dir, string(rune('a'+i)))
			if err := os.WriteFile(file, []byte(raw), 0o600); err != nil {
				t.Fatal(err)
			}
			options.ValueFiles = append(options.ValueFiles, file)
		}
		want, err := options.MergeValues(nil)
		if err != nil {
			t.Skip("helm reads no values")
		}
		before := helm.MergeValues(layers[0])
		if got := helm.MergeValues(layers...); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, helm says %v", got, want)
		}
		if !reflect.DeepEqual(before, helm.MergeValues(layers[0])) {
			t.Error("merging changed a layer")
		}
	})
}
