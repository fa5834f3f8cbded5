package config

import (
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

// TestFaults is the list of what a person may get wrong, each with the exact text that is told.
func TestFaults(t *testing.T) {
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
	for name, c := range map[string]struct {
		over map[string]string
		want string
	}{
		"unknown field":       {replace("kind: {config: kind.yaml}", "kind: {confg: kind.yaml}"), `clusters/prod.yaml:6: spec.provider.kind.confg: unknown field (did you mean "config"?)`},
		"wrong type":          {replace(`version: "1.37"`, "version: 1.37"), `clusters/prod.yaml:7: spec.kubernetes.version: want a string, found the number 1.37; put it in quotes: "1.37"`},
		"list for an object":  {replace("flux: {}", "flux: []"), `clusters/prod.yaml:12: spec.reconciler.flux: want an object, found a list`},
		"two providers":       {replace("kind: {config: kind.yaml}", "kind: {config: kind.yaml}\n    kwok: {}"), `clusters/prod.yaml:5: spec.provider: kind (line 6) and kwok (line 7) are set, want exactly one`},
		"no provider":         {replace("kind: {config: kind.yaml}", ""), `clusters/prod.yaml:5: spec.provider: is missing, want one of existing, gke, kind, kwok`},
		"written twice":       {replace("metadata: {name: prod}", "metadata: {name: prod}\nmetadata: {name: b}"), `clusters/prod.yaml:4: metadata: is written twice, first on line 3`},
		"undefined variable":  {replace("ops.git", "${REGISTRI}.git"), `clusters/prod.yaml:14: spec.source.url: the variable ${REGISTRI} is not in spec.variables (did you mean "REGISTRY"?)`},
		"bad name":            {replace("name: prod", "name: Prod_1"), `clusters/prod.yaml:3: metadata.name: "Prod_1": want at most 40 lower-case letters, digits and -, beginning and ending with a letter or digit`},
		"unknown key":         {replace("auth: {secret: git}", "auth: {secret: gti}"), `clusters/prod.yaml:16: spec.source.auth.secret: "gti" is none of spec.keys (did you mean "git"?)`},
		"path out of it":      {replace("path: overlays/prod", "path: ../prod"), `clusters/prod.yaml:15: spec.source.path: "../prod" leads out of the repository: want a path below its root`},
		"plain http":          {replace("https://git", "http://git"), `clusters/prod.yaml:14: spec.source.url: "http://git.example.com/acme/ops.git" is not encrypted: want https:// (http:// only to loopback and private addresses)`},
		"password in the URL": {replace("https://git", "https://u:p@git"), `clusters/prod.yaml:14: spec.source.url: credentials in a URL end up in logs: use spec.source.auth`},
		"missing stack":       {replace("platform.yaml", "plattform.yaml"), `clusters/prod.yaml:10: spec.stack[0].file: ../stacks/plattform.yaml: no such file`},
		"missing kind file":   {replace("kind.yaml", "kynd.yaml"), `clusters/prod.yaml:6: spec.provider.kind.config: kynd.yaml: no such file`},
		"two key sources":     {replace("from: {file: keys.txt, key", "from: {file: keys.txt, exec: [a], key"), `clusters/prod.yaml:18: spec.keys[0].from: exec (line 18) and file (line 18) are set, want exactly one`},
		"wrong version":       {replace("rekindle.dev/v1alpha1", "rekindle.dev/v2"), `clusters/prod.yaml:1: apiVersion: "rekindle.dev/v2" is not read by this version of rekindle, want rekindle.dev/v1alpha1`},
		"wrong kind":          {replace("kind: Cluster", "kind: Clutser"), `clusters/prod.yaml:2: kind: "Clutser" is no kind that is read here, want Cluster`},
		"no YAML":             {replace("spec:", "spec: ["), `clusters/prod.yaml:`},
		"need unknown":        {inStack("needs: [base]", "needs: [bse]"), `stacks/platform.yaml:10: releases[1].needs[0]: there is no release "bse" (did you mean "base"?)`},
		"circle":              {inStack("version: 1.0.0", "version: 1.0.0\n    needs: [top]"), `stacks/platform.yaml:9: releases[0].needs: releases need each other: base -> top -> base`},
		"bad duration":        {inStack("90s", "90"), `stacks/platform.yaml:10: releases[1].timeout: want a duration like 90s, 5m or 1h30m, found the number 90`},
		"no version":          {inStack("    version: 1.0.0\n", ""), `stacks/platform.yaml:5: releases[0].version: is missing`},
		"chart by name":       {inStack("./charts/top", "top"), `stacks/platform.yaml:10: releases[1].repo: is missing: in which repository is the chart top? A chart in the ops repository is written with ./ or ../`},
		"bad digest":          {inStack("version: 1.0.0", "version: 1.0.0\n    digest: sha256:12"), `stacks/platform.yaml:9: releases[0].digest: "sha256:12": want sha256: and 64 hex digits`},
		"values file":         {inStack("version: 1.0.0", "version: 1.0.0\n    valuesFiles: [values/v2.yaml]"), `stacks/platform.yaml:9: releases[0].valuesFiles[0]: values/v2.yaml: no such file`},
		"same release":        {inStack("name: top", "name: base"), `stacks/platform.yaml:10: releases[1].name: the release base is declared twice, first at stacks/platform.yaml:5`},
		"merge key":           {inStack("values: {", "values: {<<: {a: 1}, "), `stacks/platform.yaml:9: releases[0].values.<<: merge keys are not read: write the fields out`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadFS(files(c.over), "clusters/prod.yaml")
			if err == nil {
				t.Fatal("loaded")
			}
			if fault.Code(err) != fault.ExitUsage {
				t.Errorf("exit code %d", fault.Code(err))
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %s\nwant %s", err, c.want)
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
		"alias bomb":    strings.Replace(goodStack, "values: {", "values: {bomb: "+strings.Repeat("[", 300)+strings.Repeat("]", 300)+", ", 1),
		"not UTF-8":     "\xff\xfe",
		"empty":         "",
		"only comments": "# nothing\n---\n",
		"huge":          strings.Repeat("# a long line of comment\n", 60000),
		"aliases":       bomb,
		"tabs":          "apiVersion:\trekindle.dev/v1alpha1\nkind: Cluster\n\tspec: {}\n",
		"a scalar":      "hello\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadFS(files(map[string]string{"clusters/prod.yaml": text}), "clusters/prod.yaml")
			if err == nil || fault.Code(err) != fault.ExitUsage {
				t.Errorf("got %v", err)
			}
		})
	}
}
