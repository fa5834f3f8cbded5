package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

const goodCluster = `apiVersion: rekindle.dev/v1alpha1
kind: Cluster
metadata: {name: prod}
spec:
  provider:
    kind: {config: kind.yaml}
  kubernetes: {version: "1.37"}
  variables: {REGISTRY: "127.0.0.1:5001", NODES: "3"}
  stack:
    - file: ../stacks/platform.yaml
  reconciler:
    flux: {}
  source:
    url: https://git.example.com/acme/ops.git
    path: overlays/prod
    auth: {secret: git}
  keys:
    - {name: sops-age, from: {file: keys.txt, key: age.agekey}}
    - {name: git, from: {env: {username: GIT_USER, password: GIT_TOKEN}}}
  verify:
    - {http: "https://shop.example.com/healthz"}
`

const goodStack = `apiVersion: rekindle.dev/v1alpha1
kind: Stack
metadata: {name: platform}
releases:
  - name: base
    namespace: base
    chart: oci://${REGISTRY}/charts/base
    version: 1.0.0
    values: {replicas: 2, image: "${REGISTRY}/x", literal: "$${HOME}", big: 12345678901234567890, enabled: yes}
  - {name: top, namespace: base, chart: ./charts/top, needs: [base], timeout: 90s}
`

func files(over map[string]string) fstest.MapFS {
	all := map[string]string{
		"clusters/prod.yaml":    goodCluster,
		"clusters/kind.yaml":    "kind: Cluster\n",
		"stacks/platform.yaml":  goodStack,
		"stacks/values/v1.yaml": "a: 1\n",
	}
	for name, text := range over {
		all[name] = text
	}
	fsys := fstest.MapFS{}
	for name, text := range all {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

// TestKeysAreTheWordsThatAreWritten: YAML once took y, no and on for true and false, and Helm does so in values still.
func TestKeysAreTheWordsThatAreWritten(t *testing.T) {
	over := map[string]string{
		"clusters/prod.yaml": strings.NewReplacer(`{REGISTRY: "127.0.0.1:5001"`, `{N: "three", off: "four", REGISTRY: "127.0.0.1:5001"`,
			`{username: GIT_USER, password: GIT_TOKEN}`, `{y: A, true: B, yes: C, No: D, 010: E}`).Replace(goodCluster),
		"stacks/platform.yaml": strings.Replace(goodStack, "{replicas: 2,", "{n: '${N} and ${off}', y: 1,", 1),
	}
	d, err := LoadFS(files(over), "clusters/prod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"y": "A", "true": "B", "yes": "C", "No": "D", "010": "E"} {
		if got := d.Cluster.Spec.Keys[1].From.Env; got[name] != want || len(got) != 5 {
			t.Errorf("%s is not %s in %v", name, want, got)
		}
	}
	values := d.Stacks[0].Releases[0].Values
	if got, ok := values["false"]; !ok || got != "three and four" || values["true"] == nil {
		t.Errorf("as Helm reads it: %v", values)
	}
}

func TestGoodDocuments(t *testing.T) {
	d, err := LoadFS(files(nil), "clusters/prod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	spec := d.Cluster.Spec
	if spec.Source.Ref.Branch != "main" || spec.Source.Interval.Duration != time.Minute || spec.Keys[0].Namespace != "flux-system" {
		t.Errorf("defaults: %+v", spec.Source)
	}
	if len(d.Stacks) != 1 || len(d.Stacks[0].Releases) != 2 {
		t.Fatalf("stacks: %+v", d.Stacks)
	}
	r := d.Stacks[0].Releases[0]
	if r.Chart != "oci://127.0.0.1:5001/charts/base" || r.Values["image"] != "127.0.0.1:5001/x" || r.Values["literal"] != "${HOME}" {
		t.Errorf("variables: %+v", r)
	}
	if r.Values["enabled"] != true {
		t.Errorf("values are read as Helm reads them: enabled is %v", r.Values["enabled"])
	}
	if got := d.Path(d.Stacks[0], "./charts/top"); got != "stacks/charts/top" {
		t.Errorf("path of a chart: %s", got)
	}
	if file, line := d.Place("spec.source.url"); file != "clusters/prod.yaml" || line != 14 {
		t.Errorf("place: %s:%d", file, line)
	}
	if _, line := d.Place("spec.source.ref.branch"); line != 13 {
		t.Errorf("a field that is not written is placed at the one above it, got line %d", line)
	}
}

// faultCase is a document with one fault, and the text that is told of it.
type faultCase struct {
	over map[string]string
	want string
}

// faultCases is the list of what a person may get wrong.
func faultCases(t *testing.T) map[string]faultCase {
	t.Helper()
	replace := func(old, new string) map[string]string {
		if !strings.Contains(goodCluster, old) {
			t.Fatalf("the good document has no %q", old)
		}
		return map[string]string{"clusters/prod.yaml": strings.Replace(goodCluster, old, new, 1)}
	}
	inStack := func(old, new string) map[string]string {
		if !strings.Contains(goodStack, old) {
			t.Fatalf("the good stack has no %q", old)
		}
		return map[string]string{"stacks/platform.yaml": strings.Replace(goodStack, old, new, 1)}
	}
	return map[string]faultCase{
		"unknown field":       {replace("kind: {config: kind.yaml}", "kind: {confg: kind.yaml}"), `clusters/prod.yaml:6: spec.provider.kind.confg: unknown field (did you mean "config"?)`},
		"unknown provider":    {replace("kind: {config: kind.yaml}", "eks: {}"), `clusters/prod.yaml:6: spec.provider.eks: unknown provider "eks"; supported: existing, gke, kind, kwok`},
		"branch beside ref":   {replace("path: overlays/prod", "branch: main"), `clusters/prod.yaml:15: spec.source.branch: unknown field (did you mean spec.source.ref.branch?)`},
		"far from any field":  {replace("flux: {}", "flux: {frequency: 5m}"), `clusters/prod.yaml:12: spec.reconciler.flux.frequency: unknown field; supported: chart, digest, name, namespace, serviceAccountName, timeout, values, version`},
		"wrong type":          {replace(`version: "1.37"`, "version: 1.37"), `clusters/prod.yaml:7: spec.kubernetes.version: expected a string, found the number 1.37; put it in quotes: "1.37"`},
		"list for an object":  {replace("flux: {}", "flux: []"), `clusters/prod.yaml:12: spec.reconciler.flux: expected an object, found a list`},
		"two providers":       {replace("kind: {config: kind.yaml}", "kind: {config: kind.yaml}\n    kwok: {}"), `clusters/prod.yaml:5: spec.provider: kind (line 6) and kwok (line 7) are set; set exactly one of existing, gke, kind, kwok`},
		"no provider":         {replace("kind: {config: kind.yaml}", ""), `clusters/prod.yaml:5: spec.provider: is missing; set one of existing, gke, kind, kwok`},
		"written twice":       {replace("metadata: {name: prod}", "metadata: {name: prod}\nmetadata: {name: b}"), `clusters/prod.yaml:4: metadata: is set twice, first on line 3`},
		"undefined variable":  {replace("ops.git", "${REGISTRI}.git"), `clusters/prod.yaml:14: spec.source.url: the variable ${REGISTRI} is not in spec.variables (did you mean "REGISTRY"?)`},
		"bad name":            {replace("name: prod", "name: Prod_1"), `clusters/prod.yaml:3: metadata.name: "Prod_1": must be at most 40 lower-case letters, digits and -, beginning and ending with a letter or digit`},
		"unknown key":         {replace("auth: {secret: git}", "auth: {secret: gti}"), `clusters/prod.yaml:16: spec.source.auth.secret: "gti" is not in spec.keys (did you mean "git"?)`},
		"path out of it":      {replace("path: overlays/prod", "path: ../prod"), `clusters/prod.yaml:15: spec.source.path: "../prod" leads out of the repository: must be a path below its root`},
		"plain http":          {replace("https://git", "http://git"), `clusters/prod.yaml:14: spec.source.url: "http://git.example.com/acme/ops.git" is not encrypted: must be https:// (http:// only to loopback and private addresses)`},
		"password in the URL": {replace("https://git", "https://u:p@git"), `clusters/prod.yaml:14: spec.source.url: credentials in a URL end up in logs: use spec.source.auth`},
		"missing stack":       {replace("platform.yaml", "plattform.yaml"), `clusters/prod.yaml:10: spec.stack[0].file: ../stacks/plattform.yaml: no such file`},
		"stack is a folder":   {replace("../stacks/platform.yaml", "../stacks"), `clusters/prod.yaml:10: spec.stack[0].file: ../stacks: expected a file, found a folder`},
		"missing kind file":   {replace("kind.yaml", "kynd.yaml"), `clusters/prod.yaml:6: spec.provider.kind.config: kynd.yaml: no such file`},
		"type of a key":       {replace("- {name: sops-age, ", "- {name: sops-age, type: kubernetes.io/dockerconfigjson, "), `clusters/prod.yaml:18: spec.keys[0].type: kubernetes.io/dockerconfigjson requires the entry .dockerconfigjson, and from fills age.agekey`},
		"two key sources":     {replace("from: {file: keys.txt, key", "from: {file: keys.txt, exec: [a], key"), `clusters/prod.yaml:18: spec.keys[0].from: exec (line 18) and file (line 18) are set; set exactly one of env, exec, file, repo`},
		"wrong version":       {replace("rekindle.dev/v1alpha1", "rekindle.dev/v2"), `clusters/prod.yaml:1: apiVersion: "rekindle.dev/v2" is not supported by this version of rekindle; must be rekindle.dev/v1alpha1`},
		"another tool's":      {replace("rekindle.dev/v1alpha1\nkind: Cluster", "kind.x-k8s.io/v1alpha4\nkind: Cluster"), `clusters/prod.yaml:1: is a Cluster of kind.x-k8s.io/v1alpha4, and no document of rekindle`},
		"of Kubernetes":       {inStack("rekindle.dev/v1alpha1\nkind: Stack", "v1\nkind: Ingress"), `stacks/platform.yaml:1: is an Ingress of v1, and no document of rekindle`},
		"a Stack alone":       {map[string]string{"clusters/prod.yaml": goodStack}, `clusters/prod.yaml:1: is a Stack; give the Cluster document that lists it in spec.stack`},
		"a slash for a colon": {replace("https://git.example.com/acme/ops.git", "git@github.com/acme/ops.git"), `clusters/prod.yaml:14: spec.source.url: "git@github.com/acme/ops.git": a colon follows the host: git@github.com:acme/ops.git`},
		"as Flux calls it":    {inStack("needs: [base]", "dependsOn: [base]"), `stacks/platform.yaml:10: releases[1].dependsOn: unknown field (did you mean "needs"?)`},
		"wrong kind":          {replace("kind: Cluster", "kind: Clutser"), `clusters/prod.yaml:2: kind: "Clutser" is not expected here; must be Cluster`},
		"no YAML":             {replace("spec:", "spec: ["), `clusters/prod.yaml:4: invalid YAML: did not find expected ',' or ']'`},
		"need unknown":        {inStack("needs: [base]", "needs: [bse]"), `stacks/platform.yaml:10: releases[1].needs[0]: there is no release "bse" (did you mean "base"?)`},
		"circle":              {inStack("version: 1.0.0", "version: 1.0.0\n    needs: [top]"), `stacks/platform.yaml:9: releases[0].needs: releases need each other: base -> top -> base`},
		"bad duration":        {inStack("90s", "90"), `stacks/platform.yaml:10: releases[1].timeout: expected a duration such as 90s, 5m or 1h30m, found the number 90`},
		"no version":          {inStack("    version: 1.0.0\n", ""), `stacks/platform.yaml:5: releases[0].version: is missing: set the version of oci://127.0.0.1:5001/charts/base`},
		"chart by name": {inStack("./charts/top", "top"), `stacks/platform.yaml:10: releases[1].repo: is missing: set the chart repository of top; the path of a chart in the ops repository begins with ./ or ../
stacks/platform.yaml:10: releases[1].version: is missing: set the version of top`},
		"bad digest":          {inStack("version: 1.0.0", "version: 1.0.0\n    digest: sha256:12"), `stacks/platform.yaml:9: releases[0].digest: "sha256:12": must be sha256: and 64 hex digits`},
		"values file":         {inStack("version: 1.0.0", "version: 1.0.0\n    valuesFiles: [values/v2.yaml]"), `stacks/platform.yaml:9: releases[0].valuesFiles[0]: values/v2.yaml: no such file`},
		"same release":        {inStack("name: top", "name: base"), `stacks/platform.yaml:10: releases[1].name: the release base is declared twice, first at stacks/platform.yaml:5`},
		"two documents":       {replace("apiVersion", "apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: a}\nspec: {provider: {kwok: }}\n---\napiVersion"), `clusters/prod.yaml:6: a second Cluster document, the first is on line 1: a file can have only one`},
		"stack within":        {replace("apiVersion", goodStack[:strings.Index(goodStack, "  - name")]+"---\napiVersion"), `clusters/prod.yaml:1: kind: a Stack must be in a file of its own, listed in spec.stack[].file`},
		"no kind":             {replace("kind: Cluster\n", ""), `clusters/prod.yaml:1: kind: is missing; must be Cluster or Stack`},
		"empty kind":          {replace("kind: Cluster", "kind:"), `clusters/prod.yaml:2: kind: must be Cluster or Stack, found nothing`},
		"empty string":        {replace("url: https://git.example.com/acme/ops.git", "url:"), `clusters/prod.yaml:14: spec.source.url: is empty: write a string, or leave the field out`},
		"missing field":       {replace("    url: https://git.example.com/acme/ops.git\n", ""), `clusters/prod.yaml:13: spec.source.url: is missing`},
		"two refs":            {replace("path: overlays/prod", "path: overlays/prod\n    ref: {branch: a, tag: b}"), `clusters/prod.yaml:16: spec.source.ref: branch (line 16) and tag (line 16) are set; set at most one of branch, commit, tag`},
		"short commit":        {replace("path: overlays/prod", "path: overlays/prod\n    ref: {commit: abc1234}"), `clusters/prod.yaml:16: spec.source.ref.commit: "abc1234": must be a full commit: 40 hex digits`},
		"source alone":        {replace("  reconciler:\n    flux: {}\n", ""), `clusters/prod.yaml:4: spec.reconciler: is missing: spec.source needs a reconciler that follows it; add reconciler: {flux: {}}`},
		"reconciler alone":    {replace(goodCluster[strings.Index(goodCluster, "  source:"):strings.Index(goodCluster, "  keys:")], ""), `clusters/prod.yaml:4: spec.source: is missing: the reconciler needs a repository to follow`},
		"variable in itself":  {replace(`NODES: "3"`, `NODES: "${REGISTRY}"`), `clusters/prod.yaml:8: spec.variables.NODES: a variable cannot contain another variable`},
		"variable's name":     {replace(`NODES: "3"`, `no-des: "3"`), `clusters/prod.yaml:8: spec.variables.no-des: "no-des" is not a valid name: must be letters, digits and _, not beginning with a digit`},
		"a number's variable": {replace("{config: kind.yaml}", `{nodes: "${REGISTRY}"}`), `clusters/prod.yaml:6: spec.provider.kind.nodes: expected a whole number, found "127.0.0.1:5001"`},
		"too many nodes":      {replace("{config: kind.yaml}", "{nodes: 1000}"), `clusters/prod.yaml:6: spec.provider.kind.nodes: 1000: must be 1 to 100`},
		"config and nodes":    {replace("config: kind.yaml", "config: kind.yaml, nodes: 3"), `clusters/prod.yaml:6: spec.provider.kind.nodes: cannot be combined with config: the kind configuration lists its nodes`},
		"absolute path":       {replace("../stacks/platform.yaml", "/stacks/platform.yaml"), `clusters/prod.yaml:10: spec.stack[0].file: "/stacks/platform.yaml": must be a path relative to the document`},
		"a check of both":     {replace(`{http: "https://shop.example.com/healthz"}`, "{http: \"https://a.b\", job: a}"), `clusters/prod.yaml:21: spec.verify[0]: http (line 21) and job (line 21) are set; set exactly one of http, job`},
		"a check of nothing":  {replace(`{http: "https://shop.example.com/healthz"}`, "{timeout: 5m}"), `clusters/prod.yaml:21: spec.verify[0]: is missing; set one of http, job`},
		"job without place":   {replace(`{http: "https://shop.example.com/healthz"}`, "{job: smoke}"), `clusters/prod.yaml:21: spec.verify[0].namespace: is missing: set the namespace of the job smoke`},
		"same Secret": {replace("name: git, from", "name: sops-age, from"), `clusters/prod.yaml:16: spec.source.auth.secret: "git" is not in spec.keys
clusters/prod.yaml:19: spec.keys[1].name: the Secret flux-system/sops-age is declared twice, first in spec.keys[0]`},
		"environment":        {replace("GIT_USER", "GIT-USER"), `clusters/prod.yaml:19: spec.keys[1].from.env.username: must be the name of an environment variable`},
		"unknown anchor":     {replace("name: prod", "name: *prod"), `clusters/prod.yaml:3: invalid YAML: unknown anchor 'prod' referenced`},
		"self need":          {inStack("needs: [base]", "needs: [top]"), `stacks/platform.yaml:10: releases[1].needs: releases need each other: top -> top`},
		"infinite value":     {inStack("replicas: 2", "replicas: .inf"), `stacks/platform.yaml:9: releases[0].values.replicas: .inf is not a number that values can hold`},
		"YAML tag":           {inStack("replicas: 2", "replicas: !secret x"), `stacks/platform.yaml:9: releases[0].values.replicas: the YAML tag !secret is not supported`},
		"no Stack":           {map[string]string{"stacks/platform.yaml": "# later\n"}, `stacks/platform.yaml:1: there is no Stack document in this file`},
		"a Cluster as Stack": {map[string]string{"stacks/platform.yaml": goodCluster}, `stacks/platform.yaml:2: kind: "Cluster" is not expected here; must be Stack`},
		"absolute chart":     {inStack("./charts/top", "/charts/top"), `stacks/platform.yaml:10: releases[1].chart: "/charts/top": must be a path relative to the document, beginning with ./ or ../`},
		"https chart":        {inStack("./charts/top", "https://charts.example.com/top.tgz"), `stacks/platform.yaml:10: releases[1].chart: "https://charts.example.com/top.tgz": must be oci://…, a path beginning with ./ or ../, or a chart's name with repo: https://…`},
		"negative timeout":   {inStack("90s", "-90s"), `stacks/platform.yaml:10: releases[1].timeout: -90s: must be greater than zero`},
		"merge key":          {inStack("values: {", "values: {<<: {a: 1}, "), `stacks/platform.yaml:9: releases[0].values.<<: merge keys are not supported: write the fields out`},
	}
}

// TestFaults compares the exact texts: they are what a person works with.
func TestFaults(t *testing.T) {
	for name, c := range faultCases(t) {
		t.Run(name, func(t *testing.T) {
			_, err := LoadFS(files(c.over), "clusters/prod.yaml")
			if err == nil {
				t.Fatal("loaded")
			}
			if fault.Code(err) != fault.ExitUsage {
				t.Errorf("exit code %d", fault.Code(err))
			}
			if err.Error() != c.want && (!strings.HasSuffix(c.want, "…") || !strings.HasPrefix(err.Error(), strings.TrimSuffix(c.want, "…"))) {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

// TestHints shows what is told of mistakes whose fault alone does not say what to do.
func TestHints(t *testing.T) {
	fsys := files(map[string]string{
		"clusters/bare.yaml": strings.Replace(goodCluster, `"https://shop.example.com/healthz"`, "https://${REGISTRY}/healthz", 1),
		"clusters/deep.yaml": strings.Replace(goodCluster, "\n  source:", "\n   source:", 1),
	})
	for file, want := range map[string]string{
		"clusters/bare.yaml": `inside { } and [ ], put a value with ${…} in quotes: {domain: "${DOMAIN}"}`,
		"clusters/deep.yaml": "indent the line as the others of its block, and put a text that has quotes in it in other quotes",
		"nothere.yaml":       "give the Cluster document, such as clusters/prod/cluster.yaml",
		"clusters":           "give the Cluster document, such as clusters/bare.yaml",
		".":                  "give the Cluster document, such as clusters/bare.yaml",
		"stacks":             "give the Cluster document",
	} {
		_, err := LoadFS(fsys, file)
		if hints := fault.Hints(err); len(hints) != 1 || hints[0] != want {
			t.Errorf("%s: %v, hints %q, want %q", file, err, hints, want)
		}
	}
}

// TestTheFormIsShown shows how a field is written, where a word was given for it.
func TestTheFormIsShown(t *testing.T) {
	for name, c := range map[string]struct{ file, old, new, want string }{
		"provider":       {"clusters/prod.yaml", "provider:\n    kind: {config: kind.yaml}", "provider: kwok", "write provider: {kwok: {}}"},
		"its name":       {"clusters/prod.yaml", "kind: {config: kind.yaml}", "name: kwok", "write provider: {kwok: {}}"},
		"reconciler":     {"clusters/prod.yaml", "reconciler:\n    flux: {}", "reconciler: argocd", "write reconciler: {argocd: {}}"},
		"version":        {"clusters/prod.yaml", `kubernetes: {version: "1.37"}`, "kubernetes: 1.37", `write kubernetes: {version: "1.37"}`},
		"stack":          {"clusters/prod.yaml", "- file: ../stacks/platform.yaml", "- platform.yaml", "write - file: platform.yaml"},
		"ref":            {"clusters/prod.yaml", "path: overlays/prod", "path: overlays/prod\n    ref: main", "write ref: {branch: main}"},
		"ref, a commit":  {"clusters/prod.yaml", "path: overlays/prod", "path: overlays/prod\n    ref: " + strings.Repeat("a", 40), "write ref: {commit: " + strings.Repeat("a", 40) + "}"},
		"auth":           {"clusters/prod.yaml", "auth: {secret: git}", "auth: git", "write auth: {secret: git}"},
		"values":         {"stacks/platform.yaml", "version: 1.0.0", "version: 1.0.0\n    values: foo.yaml", "values in files are listed in valuesFiles: [foo.yaml]"},
		"values, a list": {"stacks/platform.yaml", "version: 1.0.0", "version: 1.0.0\n    values: [foo.yaml]", "values in files are listed in valuesFiles: [foo.yaml]"},
	} {
		good := map[string]string{"clusters/prod.yaml": goodCluster, "stacks/platform.yaml": goodStack}[c.file]
		if c.file == "stacks/platform.yaml" {
			i := strings.Index(good, "    values:")
			good = good[:i] + good[i+strings.Index(good[i:], "\n")+1:]
		}
		if !strings.Contains(good, c.old) {
			t.Fatalf("%s: the good document has no %q", name, c.old)
		}
		_, err := LoadFS(files(map[string]string{c.file: strings.Replace(good, c.old, c.new, 1)}), "clusters/prod.yaml")
		if hints := fault.Hints(err); !slices.Contains(hints, c.want) {
			t.Errorf("%s: hints %q, want %q in:\n%v", name, hints, c.want, err)
		}
	}
}

func TestSyntaxFaultsHaveTheirLine(t *testing.T) {
	deep := strings.Repeat("  x: {a: 1}\n", 3000)
	for name, c := range map[string]struct {
		text string
		line int
	}{
		"too deep":                         {"a:\n  b: 1\n   c: 2\nd: 3\n", 3},
		"not deep enough":                  {"a:\n    b: 1\n    c: 2\n  d: 3\ne: 4\n", 4},
		"a list that ends too early":       {"a:\n  - b\n  - c\n  d: 1\n", 4},
		"a dash in an object":              {"a: 1\nb: 2\n- c\n", 3},
		"a bracket too many":               {"a: 1\nb: [c]]\nd: 2\n", 2},
		"a bracket too few":                {"a: 1\nb: [c\nd: 2\n", 2},
		"a brace too few, on a later line": {"a: {\n  b: 1}\nc: 1\nd: {e: 1\nf: 2\n", 4},
		"a quote that never ends":          {"a: 1\nb: \"c\nd: 2\n", 2},
		"a tab":                            {"a:\n  b: 1\n\tc: 2\n", 3},
		"a colon that is missing":          {"a: 1\nb\nc: 2\n", 2},
		"two colons":                       {"a: 1\nb: c: d\n", 2},
		"a sign":                           {"a: 1\nb: @c\n", 2},
		"in the second document":           {"---\n---\nb:\n  c: 1\n d: 2\n", 5},
		"after a long line":                {"a: " + strings.Repeat("b", 5000) + "\nc:\n  d: 1\n   e: 1\n", 4},
		"after many lines":                 {"a:\n" + deep + "   c: 1\n" + deep, 3002},
		"an anchor that is none":           {"# *x\na: 1 # *x\nb: *xy\n", 3},
		"one after its comment":            {"a: &y 1\n# is *x\nb: [*y,\n  *x]\n", 4},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadFS(files(map[string]string{"clusters/prod.yaml": c.text}), "clusters/prod.yaml")
			if f := new(fault.Error); !errors.As(err, &f) || !strings.Contains(f.What, "invalid YAML") || f.Line != c.line {
				t.Errorf("got %v, want line %d of\n%.200s", err, c.line, c.text)
			}
		})
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	_, err := LoadFS(files(map[string]string{
		"clusters/prod.yaml":   strings.NewReplacer("name: prod", "name: P", "overlays/prod", "/x").Replace(goodCluster),
		"stacks/platform.yaml": strings.Replace(goodStack, "version: 1.0.0", "versoin: 1.0.0", 1),
	}), "clusters/prod.yaml")
	if n := len(fault.All(err)); n != 3 {
		t.Errorf("%d faults, want 3:\n%v", n, err)
	}
}

func TestHostileDocuments(t *testing.T) {
	bomb := "apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nx0: &x0 [a]\n"
	for i := range 30 {
		bomb += strings.NewReplacer("N", string(rune('a'+i)), "P", map[bool]string{true: "x0", false: "y" + string(rune('a'+i-1))}[i == 0]).
			Replace("yN: &yN [*P, *P, *P, *P, *P, *P, *P, *P]\n")
	}
	for name, text := range map[string]string{
		"alias bomb":     strings.Replace(goodStack, "values: {", "values: {bomb: "+strings.Repeat("[", 300)+strings.Repeat("]", 300)+", ", 1),
		"not UTF-8":      "\xff\xfe",
		"empty":          "",
		"only comments":  "# nothing\n---\n",
		"huge":           strings.Repeat("# a long line of comment\n", 60000),
		"aliases":        bomb,
		"tabs":           "apiVersion:\trekindle.dev/v1alpha1\nkind: Cluster\n\tspec: {}\n",
		"a scalar":       "hello\n",
		"many unknown":   goodCluster + strings.Repeat("    - {x: 1}\n", 50_000),
		"many undefined": goodCluster + strings.Repeat("    - {http: \"${A}\"}\n", 40_000),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadFS(files(map[string]string{"clusters/prod.yaml": text}), "clusters/prod.yaml")
			if err == nil || fault.Code(err) != fault.ExitUsage {
				t.Errorf("got %v", err)
			}
			if n := len(fault.All(err)); n > maxFaults+1 {
				t.Errorf("%d faults: nobody reads that", n)
			}
		})
	}
}

// TestManyReleases keeps a large graph from taking more than a moment.
func TestManyReleases(t *testing.T) {
	var b strings.Builder
	b.WriteString(goodStack[:strings.Index(goodStack, "  - name")])
	for i := range 5000 {
		fmt.Fprintf(&b, "  - {name: r%d, namespace: a, chart: ./charts/a, needs: [r%d]}\n", i, (i+1)%5000)
	}
	_, err := LoadFS(files(map[string]string{"stacks/platform.yaml": b.String()}), "clusters/prod.yaml")
	if err == nil || len(fault.All(err)) != 1 || !strings.Contains(err.Error(), "r0 -> r1 -> r2") {
		t.Errorf("a circle of 5000: %.200s", fmt.Sprint(err))
	}
}

// TestDocumentedDefaults compares the defaults that are told with those that are set.
func TestDocumentedDefaults(t *testing.T) {
	reference, err := Reference()
	if err != nil {
		t.Fatal(err)
	}
	fsys := files(map[string]string{"clusters/prod.yaml": strings.Replace(goodCluster, "{config: kind.yaml}", "{}", 1)})
	d, err := LoadFS(fsys, "clusters/prod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	spec := d.Cluster.Spec
	for field, value := range map[string]any{
		"spec.provider.kind.nodes":       spec.Provider.Kind.Nodes,
		"spec.source.interval":           strings.TrimSuffix(spec.Source.Interval.String(), "0s"),
		"spec.reconciler.flux.namespace": spec.Reconciler.Flux.Namespace,
		"spec.reconciler.flux.name":      spec.Reconciler.Flux.Name,
		"spec.reconciler.flux.timeout":   strings.TrimSuffix(spec.Reconciler.Flux.Timeout.String(), "0s"),
		"spec.verify[].status":           spec.Verify[0].Status,
		"spec.verify[].timeout":          strings.TrimSuffix(spec.Verify[0].Timeout.String(), "0s"),
		"releases[].timeout":             strings.TrimSuffix(d.Stacks[0].Releases[0].Timeout.String(), "0s"),
	} {
		_, row, _ := strings.Cut(string(reference), "| `"+field+"` |")
		row, _, _ = strings.Cut(row, "\n")
		if cells := strings.Split(row, " | "); len(cells) < 3 || cells[1] != fmt.Sprint(value) {
			t.Errorf("%s is %v, the reference tells:%s", field, value, row)
		}
	}
}

// Whoever writes a credential where its source should be named does not find it in the terminal and the logs of CI.
func TestAMisplacedCredentialIsNotShown(t *testing.T) {
	for _, c := range []struct{ spec, says string }{
		{"state: {repository: r, password: hunter2}", "spec.state.password: must be {env: …}, {file: …} or {exec: […]}"},
		{"state: {repository: r, password: {env: hunter2!}}", "spec.state.password.env: must be the name of an environment variable"},
		{"state: {repository: r, password: {exec: hunter2}}", "spec.state.password.exec: expected a list, found a value that is not shown"},
		{"state: {repository: r, password: {file: 42424242}}", "spec.state.password.file: expected a string, found a value that is not shown"},
		{"keys: [{name: a, namespace: b, from: hunter2}]", "spec.keys[0].from: must be {file: …}, {env: {ENTRY: VARIABLE}}"},
		{"keys: [{name: a, namespace: b, from: {env: hunter2}}]", "spec.keys[0].from.env: expected an object, found a value that is not shown"},
		{"keys: [{name: a, namespace: b, from: {env: {password: hunter2!}}}]", "spec.keys[0].from.env.password: must be the name of an environment variable"},
	} {
		_, err := LoadFS(fstest.MapFS{"c.yaml": {Data: []byte("apiVersion: rekindle.dev/v1alpha1\nkind: Cluster\nmetadata: {name: prod}\nspec:\n  provider: {kwok: {}}\n  " + c.spec + "\n")}}, "c.yaml")
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "4242") {
			t.Errorf("%s: %v", c.spec, err)
		}
	}
}
