package gitrepo

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

func repoFS(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, content := range files {
		m[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return m
}

const configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\n"

func cm(name string) string { return strings.ReplaceAll(configMap, "NAME", name) }

func names(r *Rendered) []string {
	var list []string
	for _, o := range r.Objects {
		list = append(list, text(o, "kind")+"/"+text(o, "metadata", "name"))
	}
	slices.Sort(list)
	return list
}

func TestRenderFollowsWhatAKustomizationNames(t *testing.T) {
	repo := repoFS(map[string]string{
		"overlays/prod/kustomization.yaml": `
resources: [../../base, extra.yaml]
components: [../../comp]
namePrefix: p-
configMapGenerator: [{name: gen, files: [key=files/a.txt, files/b.txt], envs: [vars.env]}]
secretGenerator: [{name: sec, envs: [secret.env]}]
patches: [{path: patch.yaml, target: {kind: ConfigMap, name: base}}]
replacements: [{path: repl.yaml}]
generatorOptions: {disableNameSuffixHash: true}
`,
		"overlays/prod/extra.yaml":  cm("extra"),
		"overlays/prod/files/a.txt": "a", "overlays/prod/files/b.txt": "b",
		"overlays/prod/vars.env":   "X=1\n",
		"overlays/prod/secret.env": "X=ENC[AES256_GCM]\nsops_version=3.9.0\nsops_mac=ENC[x]\n",
		"overlays/prod/patch.yaml": "- {op: add, path: /data, value: {patched: 'yes'}}\n",
		"overlays/prod/repl.yaml": "source: {kind: ConfigMap, name: base, fieldPath: metadata.name}\n" +
			"targets: [{select: {kind: ConfigMap, name: extra}, fieldPaths: [data.from], options: {create: true}}]\n",
		"base/kustomization.yml":    "resources: [cm.yaml, secret.yaml]\n",
		"base/cm.yaml":              cm("base"),
		"base/secret.yaml":          "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: x}\nsops: {mac: x, age: []}\n",
		"comp/kustomization.yaml":   "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [c.yaml]\n",
		"comp/c.yaml":               cm("comp"),
		"unused/broken.yaml":        "a: [",
		"overlays/test/secret.yaml": "sops: {mac: x}\n",
	})
	r, err := Render(t.Context(), repo, "./overlays/prod/", Source{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ConfigMap/p-base", "ConfigMap/p-comp", "ConfigMap/p-extra", "ConfigMap/p-gen", "Secret/p-s", "Secret/p-sec"}
	if got := names(r); !slices.Equal(got, want) {
		t.Errorf("objects %v, want %v", got, want)
	}
	for _, o := range r.Objects {
		if text(o, "metadata", "name") == "p-base" && text(o, "data", "patched") != "yes" {
			t.Error("the patch is not in")
		}
	}
	if want := []string{"base/secret.yaml", "overlays/prod/secret.env"}; !slices.Equal(r.Encrypted, want) {
		t.Errorf("encrypted %v, want %v", r.Encrypted, want)
	}
	if len(r.Files) != 13 || slices.Contains(r.Files, "unused/broken.yaml") {
		t.Errorf("%d files %v", len(r.Files), r.Files)
	}
}

// TestRenderTakesWhatAPluginNames: kustomize reads the files of generators and transformers by itself.
func TestRenderTakesWhatAPluginNames(t *testing.T) {
	repo := repoFS(map[string]string{
		"p/kustomization.yaml": "resources: [a.yaml]\ntransformers: [t/t.yaml]\ngenerators:\n- |\n  apiVersion: builtin\n  kind: SecretGenerator\n  metadata: {name: gen}\n" +
			"  files: [key=t/x.env]\n",
		"p/a.yaml": cm("a"), "p/t/t.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\npath: patch.yaml\ntarget: {kind: ConfigMap}\n",
		"p/patch.yaml": "- {op: add, path: /data, value: {patched: 'yes'}}\n", "p/t/x.env": "X=ENC[x]\nsops_mac=ENC[x]\n",
	})
	r, err := Render(t.Context(), repo, "p", Source{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Objects) != 2 || text(r.Objects[0], "data", "patched") != "yes" || !slices.Equal(r.Encrypted, []string{"p/t/x.env"}) {
		t.Errorf("objects %v, encrypted %v", r.Objects, r.Encrypted)
	}
}

func TestRenderWithoutAKustomizationTakesEveryManifest(t *testing.T) {
	repo := repoFS(map[string]string{
		"apps/a.yaml": cm("a"), "apps/deep/b.yml": cm("b"), "apps/README.md": "# no", "apps/.github/workflow.yaml": "on: push",
		"apps/own/kustomization.yaml": "resources: [c.yaml]\nnameSuffix: -x\n", "apps/own/c.yaml": cm("c"), "apps/own/unused.yaml": cm("u"),
		".sops.yaml": "creation_rules: []\n",
	})
	want := []string{"ConfigMap/a", "ConfigMap/b", "ConfigMap/c-x"}
	for _, dir := range []string{"apps", "", "."} {
		r, err := Render(t.Context(), repo, dir, Source{})
		if err != nil {
			t.Fatal(err)
		}
		if got := names(r); !slices.Equal(got, want) {
			t.Errorf("path %q: objects %v, want %v", dir, got, want)
		}
		if slices.Contains(r.Files, "apps/kustomization.yaml") || slices.Contains(r.Files, "kustomization.yaml") {
			t.Error("a file that is not in the repository is said to be used")
		}
	}
}

func TestRenderGoesOnWhereFluxDoes(t *testing.T) {
	flux := func(name, path, source string) string {
		return "---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: " + name + "}\n" +
			"spec: {path: " + path + ", sourceRef: {kind: GitRepository, name: " + source + "}}\n"
	}
	repo := repoFS(map[string]string{
		"clusters/prod/all.yaml": flux("apps", "./apps", "ops") + flux("self", "./clusters/prod", "ops") + flux("other", "./apps2", "other") +
			"---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: other}\n",
		"apps/pvc.yaml": "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: shop}\n",
		"apps/web.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {initContainers: [{image: b:1}], containers: [{image: a:1}]}}}\n",
		"apps/s.yaml":   "sops: {mac: x}\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\n",
		"apps/crd.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.x.io}\n" +
			"spec: {group: x.io, names: {kind: Thing}, versions: [{name: v1}]}\n",
		"apps2/broken.yaml": "a: [",
	})
	r, err := Render(t.Context(), repo, "clusters/prod", Source{Name: "ops"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Children) != 1 || r.Children[0].Path != "apps" || !slices.Equal(r.Encrypted, []string{"apps/s.yaml"}) {
		t.Errorf("children %v, encrypted %v", r.Children, r.Encrypted)
	}
	if got := r.Images(); !slices.Equal(got, []string{"a:1", "b:1"}) {
		t.Errorf("images %v", got)
	}
	if got := r.VolumeCaveats(); len(got) != 1 || !strings.Contains(got[0], "shop/data") {
		t.Errorf("caveats %v", got)
	}
}

// bomb is a few lines that are ten million values when all aliases are written out.
func bomb(indent string) string {
	text := indent + "x0: &x0 [" + strings.Repeat("x, ", 10) + "]\n"
	for i := 1; i < 7; i++ {
		text += fmt.Sprintf("%sx%d: &x%d [%s]\n", indent, i, i, strings.Repeat(fmt.Sprintf("*x%d, ", i-1), 10))
	}
	return text
}

func TestAliasesAreWrittenOut(t *testing.T) {
	files := map[string]string{"p/a.yaml": cm("a") + "data: {<<: &more {b: c}, d: '& * |'}\n---\n" + cm("b") + "x: &x [1]\ny: [*x, *x]\n",
		"p/kustomization.yaml": "resources: [a.yaml]\ncommonAnnotations: &all {a: b}\nlabels: [{pairs: *all}]\n"}
	if _, err := Render(t.Context(), repoFS(files), "p", Source{}); err != nil {
		t.Error(err)
	}
}

func TestRenderFaultsNameTheFile(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		texts []string
	}{
		"not YAML":        {map[string]string{"p/kustomization.yaml": "resources: [a.yaml]", "p/a.yaml": "a: 1\nb: [\n"}, []string{"p/a.yaml:", "not valid YAML"}},
		"missing":         {map[string]string{"p/kustomization.yaml": "resources: [a.yaml]"}, []string{"p/kustomization.yaml: a.yaml does not exist"}},
		"unknown field":   {map[string]string{"p/kustomization.yaml": "resorces: [a.yaml]"}, []string{"p/kustomization.yaml: not a kustomization", "resorces"}},
		"out of the repo": {map[string]string{"p/kustomization.yaml": "resources: [../../a]"}, []string{"leads out of the repository"}},
		"remote bases": {map[string]string{"p/kustomization.yaml": "resources: ['https://example.com/x.yaml', 'github.com/a/b?ref=v1']\ncomponents: ['git@github.com:a/b']"},
			[]string{"the remote base https://example.com/x.yaml", "the remote base github.com/a/b?ref=v1", "the remote base git@github.com:a/b", "3 errors"}},
		"remote files of a generator": {map[string]string{"p/kustomization.yaml": "generators: [g.yaml, d]",
			"p/g.yaml":               "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: g}\nfiles: ['a=HTTP://127.0.0.1:1/x']\nenvs: ['https://127.0.0.1:1/y']\n",
			"p/d/kustomization.yaml": "resources: [s.yaml]", "p/d/s.yaml": "apiVersion: builtin\nkind: SecretGenerator\nmetadata: {name: g}\nenv: http://127.0.0.1:1/z\n"},
			[]string{"p/g.yaml: the remote base a=HTTP://127.0.0.1:1/x", "the remote base https://127.0.0.1:1/y", "p/d/s.yaml: the remote base http://127.0.0.1:1/z", "3 errors"}},
		"remote files of a transformer": {map[string]string{"p/a.yaml": cm("a"), "p/kustomization.yaml": "resources: [a.yaml]\ntransformers:\n- |\n  apiVersion: builtin\n  kind: PatchTransformer\n" +
			"  metadata: {name: t}\n  path: http://127.0.0.1:1/p\n- |\n  apiVersion: builtin\n  kind: ReplacementTransformer\n  metadata: {name: r}\n  replacements: [{path: 'http://127.0.0.1:1/q'}]\n"},
			[]string{"p/kustomization.yaml: the remote base http://127.0.0.1:1/p", "the remote base http://127.0.0.1:1/q", "2 errors"}},
		"remote bases that are here too": {map[string]string{"p/kustomization.yaml": "resources: ['github.com/a/b']\nconfigMapGenerator: [{name: x, files: ['a=http://127.0.0.1:1/x']}]",
			"p/github.com/a/b/kustomization.yaml": "resources: [a.yaml]", "p/github.com/a/b/a.yaml": cm("a"), "p/http:/127.0.0.1:1/x": "x"},
			[]string{"the remote base github.com/a/b", "the remote base http://127.0.0.1:1/x", "2 errors"}},
		"helm": {map[string]string{"p/kustomization.yaml": "helmCharts: [{name: x, repo: 'https://x'}]"}, []string{"helmCharts is run neither"}},
		"a chart": {map[string]string{"p/Chart.yaml": "name: apps\n", "p/templates/app.yaml": "{{ .Values.x }}: [\n"},
			[]string{"path p: is a Helm chart", "an Application of Argo CD"}},
		"a chart beside manifests": {map[string]string{"p/a.yaml": cm("a"), "p/c/Chart.yaml": "name: apps\n", "p/c/templates/app.yaml": "{{ x }}: [\n"},
			[]string{"path p/c: is a Helm chart"}},
		"not a folder":   {map[string]string{"prod/a.yaml": cm("a"), "b/a.yaml": cm("a")}, []string{"no such folder", "similar paths are b, prod"}},
		"nothing there":  {map[string]string{"p/README.md": "x"}, []string{"neither a kustomization file nor a manifest"}},
		"twice the same": {map[string]string{"p/a.yaml": cm("a"), "p/b.yaml": cm("a")}, []string{"path p: does not render", "already registered"}},
		"not an object":  {map[string]string{"p/a.yaml": "a: 1\n"}, []string{"path p: does not render", "a.yaml"}},
		"bare folder":    {map[string]string{"p/kustomization.yaml": "resources: [sub]", "p/sub/a.yaml": cm("a")}, []string{"sub is a folder without a kustomization file"}},
		"two kustomization files": {map[string]string{"p/kustomization.yaml": "resources: [b]", "p/b/kustomization.yml": "resources: [a.yaml]", "p/b/Kustomization": "resources: [a.yaml]",
			"p/b/a.yaml": cm("a")}, []string{"path p/b: has several kustomization files: p/b/kustomization.yml, p/b/Kustomization"}},
		"a pointer of LFS": {map[string]string{"p/kustomization.yaml": "secretGenerator: [{name: s, files: [x.bin]}]",
			"p/x.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"}, []string{"p/x.bin: is a pointer of Git LFS", "git lfs untrack p/x.bin"}},
		"aliases of aliases":  {map[string]string{"p/a.yaml": cm("a") + bomb("")}, []string{"p/a.yaml:1: cannot be rendered: its aliases stand for too much"}},
		"an alias of itself":  {map[string]string{"p/a.yaml": cm("a") + "data: &a {x: *a}\n"}, []string{"p/a.yaml:1: cannot be rendered"}},
		"aliases in a patch":  {map[string]string{"p/a.yaml": cm("a"), "p/kustomization.yaml": "resources: [a.yaml]\npatches:\n- patch: |\n" + bomb("    ")}, []string{"p/kustomization.yaml:3: cannot be rendered"}},
		"aliases in its file": {map[string]string{"p/a.yaml": cm("a"), "p/kustomization.yaml": "resources: [a.yaml]\npatches: [{path: b.yaml}]\n", "p/b.yaml": cm("a") + bomb("")}, []string{"p/b.yaml:1: cannot be rendered"}},
		"aliases in a plugin": {map[string]string{"p/kustomization.yaml": "generators: [g.yaml]\n", "p/g.yaml": "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: g}\n" + bomb("")}, []string{"p/g.yaml:1: cannot be rendered"}},
		"aliases in the file": {map[string]string{"p/a.yaml": cm("a"), "p/kustomization.yaml": "resources: [a.yaml]\n" + bomb("")}, []string{"p/kustomization.yaml:1: cannot be rendered"}},
		"patch of nothing":    {map[string]string{"p/kustomization.yaml": "patches: [{path: p.yaml}]", "p/p.yaml": cm("no")}, []string{"path p: does not render"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Render(t.Context(), repoFS(c.files), "p", Source{})
			if err == nil {
				t.Fatal("it renders")
			}
			all := fault.Text(err)
			for _, text := range c.texts {
				if !strings.Contains(all, text) {
					t.Errorf("want %q in:\n%s", text, all)
				}
			}
			if code := fault.Code(err); code != fault.ExitUsage {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// TestWhatSOPSWroteIsKnownByItsContent where the name does not tell its format.
func TestWhatSOPSWroteIsKnownByItsContent(t *testing.T) {
	for name, c := range map[string]struct {
		raw string
		is  bool
	}{
		"config.env.encrypted":  {"X=ENC[AES256_GCM,data:x]\nsops_version=3.9.0\nsops_mac=ENC[x]\n", true},
		"config.ini.encrypted":  {"[s]\nx = ENC[x]\n\n[sops]\nmac = ENC[x]\n", true},
		"config.yaml.encrypted": {"x: ENC[x]\nsops:\n  mac: ENC[x]\n", true},
		"token":                 {`{"data": "ENC[x]", "sops": {"mac": "ENC[x]"}}`, true},
		"notes":                 {"of sops and what it is for\n", false},
		"plain.ini.txt":         {"[s]\nabout = sops\n", false},
	} {
		if got := isEncrypted(name, []byte(c.raw)); got != c.is {
			t.Errorf("%s is encrypted: %v", name, got)
		}
	}
}
