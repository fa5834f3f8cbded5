package stacks_test

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/stacks"
)

const (
	clusterDoc = "apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: test}\n" +
		"spec: {provider: {kwok: {}}, stack: [{file: stacks/platform.yaml}]}\n"
	stackHead = "apiVersion: rekindle.dev/v1alpha1\nkind: Stack\nmetadata: {name: platform}\nreleases:\n" // 4 lines
	configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {{ toJson .Values }}\n"
)

// repository is an ops repository with a stack of these releases; files are beside the stack document.
func repository(releases string, beside map[string]string) repo {
	fsys := repo{
		"cluster.yaml":         {Data: []byte(clusterDoc)},
		"stacks/platform.yaml": {Data: []byte(stackHead + releases)},
	}
	for name, content := range beside {
		fsys["stacks/"+name] = &fstest.MapFile{Data: []byte(content)}
	}
	return fsys
}

// repo is a repository in memory.
type repo fstest.MapFS

func (r repo) Open(name string) (fs.File, error) { return fstest.MapFS(r).Open(name) }

// with is the repository with one more file at its root.
func (r repo) with(name string, content []byte) repo {
	r[name] = &fstest.MapFile{Data: content}
	return r
}

// chartOf is a chart's files in a folder.
func chartOf(folder string, files map[string]string) map[string]string {
	all := map[string]string{folder + "/Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.0.0\n"}
	for name, content := range files {
		all[folder+"/"+name] = content
	}
	return all
}

func packed(t *testing.T, files map[string]string) []byte {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, content := range chartOf("app", files) {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	archive, err := helm.Pack(fsys, "app")
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func both(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func newStack(t *testing.T, fsys repo, o stacks.Options) *stacks.Stack {
	t.Helper()
	docs, err := config.LoadFS(fsys, "cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := stacks.New(docs, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fetched is a stack whose charts are there.
func fetched(t *testing.T, fsys repo, o stacks.Options) *stacks.Stack {
	t.Helper()
	s := newStack(t, fsys, o)
	if err := s.Fetch(t.Context(), stacks.NewFetcher(t.TempDir()), nil); err != nil {
		t.Fatal(err)
	}
	return s
}

func fetchFault(t *testing.T, fsys repo) error {
	t.Helper()
	err := newStack(t, fsys, stacks.Options{}).Fetch(t.Context(), stacks.NewFetcher(t.TempDir()), nil)
	if err == nil {
		t.Fatal("no fault")
	}
	return err
}

// wants wants a fault of a kind that says all of these.
func wants(t *testing.T, err error, kind fault.Kind, says ...string) {
	t.Helper()
	if fault.KindOf(err) != kind {
		t.Errorf("kind %d, want %d: %v", fault.KindOf(err), kind, err)
	}
	for _, text := range says {
		if !strings.Contains(fault.Text(err), text) {
			t.Errorf("it does not say %q: %s", text, fault.Text(err))
		}
	}
}

func TestReleasesComeAfterThoseTheyNeed(t *testing.T) {
	t.Parallel()
	s := newStack(t, repository(`
- {name: a, namespace: x, chart: ./app, needs: [c, d]}
- {name: b, namespace: x, chart: ./app}
- {name: c, namespace: x, chart: ./app, needs: [d]}
- {name: d, namespace: x, chart: ./app, needs: [b]}
`, nil), stacks.Options{})
	var names []string
	for _, r := range s.Releases {
		names = append(names, r.Name)
	}
	if want := []string{"b", "d", "c", "a"}; !slices.Equal(names, want) {
		t.Errorf("order %v, want %v", names, want)
	}
}

func TestABroughtReleaseMustNotBeDoubled(t *testing.T) {
	t.Parallel()
	docs, err := config.LoadFS(repository("- {name: flux, namespace: x, chart: ./app}\n", nil), "cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = stacks.New(docs, []config.Release{{Name: "flux"}}, stacks.Options{})
	wants(t, err, fault.Usage, "stacks/platform.yaml:5: release flux", "another name")
}

// TestValuesMergeInTheirOrder has the chart fail with the values that it sees.
func TestValuesMergeInTheirOrder(t *testing.T) {
	t.Parallel()
	err := fetchFault(t, repository("- {name: a, namespace: x, chart: ./app, valuesFiles: [one.yaml, more/two.yaml], values: {inline: 3, all: 3}}\n",
		both(chartOf("app", map[string]string{
			"templates/x.yaml": "{{ fail (toJson .Values) }}", "values.yaml": "chart: 0\ngone: 0\nall: 0\n",
		}), map[string]string{
			"one.yaml":      "one: 1\ntwo: 1\ninline: 1\nall: 1\n",
			"more/two.yaml": "two: 2\ninline: 2\nall: 2\ngone: null\n",
		})))
	if text := strings.ReplaceAll(err.Error(), `\"`, `"`); !strings.Contains(text, `{"all":3,"chart":0,"inline":3,"one":1,"two":2}`) {
		t.Errorf("got %s", text)
	}
}

func TestFaultsOfValuesNameTheirPlace(t *testing.T) {
	t.Parallel()
	err := fetchFault(t, repository("- {name: a, namespace: x, chart: ./app}\n- name: c\n  namespace: x\n  chart: ./app\n  valuesFiles:\n"+
		"  - one.yaml\n  - bad.yaml\n- name: d\n  namespace: x\n  chart: ./app\n  values: {size: big}\n",
		both(chartOf("app", map[string]string{"values.schema.json": `{"properties":{"size":{"type":"integer"}}}`}),
			map[string]string{"one.yaml": "a: 1\n", "bad.yaml": "a: 1\n- b\n"})))
	wants(t, err, fault.Usage,
		"stacks/platform.yaml:11: release c: bad.yaml: not a values file", "line 1",
		"stacks/platform.yaml:15: release d", "size",
		"2 errors")
}

func TestTheDeclaredVersionReachesTheCharts(t *testing.T) {
	t.Parallel()
	s := newStack(t, repository("- {name: a, namespace: x, chart: ./app}\n",
		chartOf("app", map[string]string{"templates/x.yaml": `{{ fail .Capabilities.KubeVersion.Version }}`})), stacks.Options{KubeVersion: "1.33.7"})
	err := s.Fetch(t.Context(), stacks.NewFetcher(t.TempDir()), nil)
	if err == nil || !strings.Contains(err.Error(), "v1.33.7") {
		t.Errorf("got %v", err)
	}
}

func crdOf(kind, typ, versionMore string) string {
	return fmt.Sprintf("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: %[1]ss.own.example.com}\n"+
		"spec:\n  group: own.example.com\n  scope: Namespaced\n  names: {kind: %[1]s, plural: %[1]ss}\n"+
		"  versions: [{name: v1, served: true, storage: true, %[3]s schema: {openAPIV3Schema: {type: object, properties: {"+
		"spec: {type: %[2]s}, status: {type: object, properties: {conditions: {type: array, items: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}}}]\n", kind, typ, versionMore)
}

func TestCRDsOfAllCharts(t *testing.T) {
	t.Parallel()
	thing, other := crdOf("thing", "string", ""), crdOf("thing", "integer", "")
	two := "- {name: a, namespace: x, chart: ./one}\n- {name: b, namespace: x, chart: ./two}\n"
	same := fetched(t, repository(two, both(
		chartOf("one", map[string]string{"crds/x.yaml": thing}),
		chartOf("two", map[string]string{"crds/y.yaml": thing, "crds/z.yaml": crdOf("more", "string", "")}))), stacks.Options{})
	var names []string
	for _, crd := range same.CRDs() {
		names = append(names, crd.GetName())
	}
	if !slices.Equal(names, []string{"things.own.example.com", "mores.own.example.com"}) {
		t.Errorf("CRDs %v", names)
	}
	err := fetchFault(t, repository(two, both(
		chartOf("one", map[string]string{"crds/x.yaml": thing}), chartOf("two", map[string]string{"crds/x.yaml": other}))))
	wants(t, err, fault.Usage, "stacks/platform.yaml:6: release b", "things.own.example.com", "release a", "skipCRDs: true")
	skipped := fetched(t, repository(strings.Replace(two, "./two}", "./two, skipCRDs: true}", 1), both(
		chartOf("one", map[string]string{"crds/x.yaml": thing}), chartOf("two", map[string]string{"crds/x.yaml": other}))), stacks.Options{})
	if crds := skipped.CRDs(); len(crds) != 1 || fmt.Sprint(crds[0].Object["spec"]) == "" || !strings.Contains(fmt.Sprint(crds[0].Object), "type:string") {
		t.Errorf("with those of one left out: %v", crds)
	}
}

// TestAChartSeesTheKindsThatAreThereWhenItIsInstalled has each chart tell which kinds its templates may ask for.
func TestAChartSeesTheKindsThatAreThereWhenItIsInstalled(t *testing.T) {
	t.Parallel()
	const sees = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sees}\ndata:\n" +
		"  folder: {{ .Capabilities.APIVersions.Has \"own.example.com/v1/folder\" | quote }}\n" +
		"  templated: {{ .Capabilities.APIVersions.Has \"own.example.com/v1/templated\" | quote }}\n"
	files := map[string]string{}
	for name, more := range map[string]map[string]string{
		"plain": {}, "folder": {"crds/x.yaml": crdOf("folder", "string", "")}, "templated": {"templates/x.yaml": crdOf("templated", "string", "")},
	} {
		files = both(files, both(chartOf(name, more), map[string]string{name + "/templates/sees.yaml": sees}))
	}
	s := fetched(t, repository(`
- {name: before, namespace: x, chart: ./plain}
- {name: folder, namespace: x, chart: ./folder}
- {name: templated, namespace: x, chart: ./templated}
- {name: between, namespace: x, chart: ./plain, needs: [templated]}
- {name: after, namespace: x, chart: ./plain, needs: [between]}
`, files), stacks.Options{})
	want := map[string]string{
		"before": "map[folder:true templated:false]", "folder": "map[folder:true templated:false]", "templated": "map[folder:true templated:false]",
		"between": "map[folder:true templated:true]", "after": "map[folder:true templated:true]",
	}
	for _, r := range s.Releases {
		for _, obj := range r.Objects() {
			if got := fmt.Sprint(obj.Object["data"]); obj.GetKind() == "ConfigMap" && got != want[r.Name] {
				t.Errorf("%s sees %s, want %s", r.Name, got, want[r.Name])
			}
		}
	}
}

// TestKindsOfTemplatesPromiseConditions has the CRD in the templates of another release.
func TestKindsOfTemplatesPromiseConditions(t *testing.T) {
	t.Parallel()
	s := fetched(t, repository("- {name: a, namespace: x, chart: ./one}\n- {name: b, namespace: x, chart: ./two, needs: [a]}\n", both(
		chartOf("one", map[string]string{"templates/x.yaml": crdOf("thing", "string", "subresources: {status: {}},")}),
		chartOf("two", map[string]string{"templates/x.yaml": "apiVersion: own.example.com/v1\nkind: thing\nmetadata: {name: one}\n"}))), stacks.Options{Simulated: true})
	if got := fmt.Sprint(s.Releases[1].Caveats()); !strings.Contains(got, "thing one: its controller does not run") {
		t.Errorf("caveats %s", got)
	}
}

func TestCRDsOfDisabledSubChartsAreNeitherInstalledNorInConflict(t *testing.T) {
	t.Parallel()
	with := func(folder, typ string) map[string]string {
		return chartOf(folder, map[string]string{
			"Chart.yaml":            "apiVersion: v2\nname: app\nversion: 1.0.0\ndependencies: [{name: sub, version: 1.0.0, condition: sub.enabled}]\n",
			"charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0\n", "charts/sub/crds/x.yaml": crdOf("thing", typ, ""),
		})
	}
	files := both(with("one", "string"), with("two", "integer"))
	const releases = "- {name: a, namespace: x, chart: ./one, values: {sub: {enabled: false}}}\n- {name: b, namespace: x, chart: ./two, values: {sub: {enabled: %v}}}\n"
	for enabled, want := range map[bool]int{false: 0, true: 1} {
		if crds := fetched(t, repository(fmt.Sprintf(releases, enabled), files), stacks.Options{}).CRDs(); len(crds) != want {
			t.Errorf("enabled in one is %v: %d CRDs, want %d", enabled, len(crds), want)
		}
	}
}

func TestWhatSimulatedNodesCanNotShowIsSaid(t *testing.T) {
	t.Parallel()
	fsys := repository("- {name: a, namespace: x, chart: ./app}\n- {name: b, namespace: x, chart: ./plain}\n", both(chartOf("app", map[string]string{
		"crds/x.yaml": crdOf("thing", "string", "subresources: {status: {}},"), "crds/y.yaml": crdOf("quiet", "string", ""),
		"templates/x.yaml": `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: guard}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.metrics.example.com}
spec: {service: {name: metrics, namespace: x}}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.local.example.com}
---
apiVersion: own.example.com/v1
kind: thing
metadata: {name: one}
---
apiVersion: own.example.com/v1
kind: quiet
metadata: {name: two}
`,
	}), chartOf("plain", map[string]string{"templates/x.yaml": configMap})))
	simulated := fetched(t, fsys, stacks.Options{Simulated: true})
	want := []string{"aggregated API v1.metrics.example.com", "thing one: its controller does not run on simulated nodes", "webhook guard"}
	if got := simulated.Releases[0].Caveats(); !slices.Equal(got, want) {
		t.Errorf("caveats %q, want %q", got, want)
	}
	if got := simulated.Releases[1].Caveats(); len(got) > 0 {
		t.Errorf("a plain chart has the caveats %q", got)
	}
	if got := fetched(t, fsys, stacks.Options{}).Releases[0].Caveats(); len(got) > 0 {
		t.Errorf("real nodes have the caveats %q", got)
	}
}

func TestTheTitleAndTheInputsOfARelease(t *testing.T) {
	t.Parallel()
	s := newStack(t, repository("- {name: app, namespace: x, chart: ./app}\n- {name: b, namespace: x, chart: ./app}\n- {name: c, namespace: x, chart: ./app, values: {a: 1}}\n",
		chartOf("app", nil)), stacks.Options{})
	if s.Releases[0].Title() != "app" || s.Releases[0].Inputs() != nil {
		t.Error("it tells of a chart before it is there")
	}
	if err := s.Fetch(t.Context(), stacks.NewFetcher(t.TempDir()), plan.Progress(nil)); err != nil {
		t.Fatal(err)
	}
	a, b, c := s.Releases[0], s.Releases[1], s.Releases[2]
	if a.Title() != "app 1.0.0" || b.Title() != "b (app 1.0.0)" {
		t.Errorf("titles %q and %q", a.Title(), b.Title())
	}
	if !maps.Equal(a.Inputs(), b.Inputs()) || maps.Equal(b.Inputs(), c.Inputs()) || c.Inputs()["chart"] != b.Inputs()["chart"] {
		t.Errorf("inputs %v, %v, %v", a.Inputs(), b.Inputs(), c.Inputs())
	}
}

// TestAChartThatRendersAnObjectTwiceIsRefused: Helm would make the first of them in a cluster that is there by then.
func TestAChartThatRendersAnObjectTwiceIsRefused(t *testing.T) {
	twice := configMap + "---\n" + "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app, namespace: here}\n"
	err := fetchFault(t, repository("- {name: app, namespace: here, chart: ./app}\n", chartOf("app", map[string]string{"templates/a.yaml": twice})))
	wants(t, err, fault.Usage, "stacks/platform.yaml:5", "release app", "ConfigMap here/app more than once")
	fetched(t, repository("- {name: app, namespace: there, chart: ./app}\n", chartOf("app", map[string]string{"templates/a.yaml": twice})), stacks.Options{})
}

// TestARangeOfVersionsIsRefused as what it is, before anything is asked for it.
func TestARangeOfVersionsIsRefused(t *testing.T) {
	for _, version := range []string{"^1.2", "~1.2.3", ">=1.0.0", "1.2.x", "*", "1.x"} {
		wants(t, fetchFault(t, repository(`- {name: app, namespace: here, chart: app, repo: "https://charts.invalid", version: "`+version+"\"}\n", nil)),
			fault.Usage, "stacks/platform.yaml:5", "is a range")
	}
}

// TestAMissingNeedIsWarnedOf: which of two releases is installed first is chance otherwise.
func TestAMissingNeedIsWarnedOf(t *testing.T) {
	crd := `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Thing, plural: things}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`
	files := both(chartOf("operator", map[string]string{"templates/crd.yaml": crd}), chartOf("user", map[string]string{
		"templates/a.yaml": "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: one}\n---\napiVersion: example.com/v1\nkind: Thing\nmetadata: {name: two}\n",
	}))
	files = both(files, chartOf("empty", nil))
	for needs, want := range map[string][]string{
		"":                    {"release user: Thing one is of a kind that the templates of release operator bring: name that in needs, else it may be installed too late"},
		", needs: [operator]": nil,
		", needs: [between]":  nil,
	} {
		var warned []string
		s := newStack(t, repository("- {name: operator, namespace: a, chart: ./operator}\n- {name: between, namespace: a, chart: ./empty, needs: [operator]}\n"+
			"- {name: user, namespace: a, chart: ./user"+needs+"}\n", files), stacks.Options{})
		if err := s.Fetch(t.Context(), stacks.NewFetcher(t.TempDir()), func(u plan.Update) {
			if u.Warning != "" {
				warned = append(warned, u.Warning)
			}
		}); err != nil || !slices.Equal(warned, want) {
			t.Errorf("%q: %v, warned %q", needs, err, warned)
		}
	}
}
