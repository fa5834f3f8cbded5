package arch

import (
	"go/build"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/rekindle-dev/rekindle"

// A rule forbids imports, direct or not, and says why.
type rule struct {
	packages []string // below the module; "..." at the end takes everything below
	but      []string // of these packages, those that it is not for
	forbid   []string // import path prefixes
	except   []string // exact import paths that are allowed all the same
	direct   bool     // only direct imports count
	reason   string
}

func rules() []rule {
	return []rule{
		{
			packages: []string{"internal/plan", "internal/engine", "internal/wait", "internal/fault", "internal/config", "internal/report"},
			forbid:   []string{"k8s.io/", "helm.sh/", "sigs.k8s.io/kind", "cloud.google.com/"},
			reason:   "the core runs and tells steps; it does not know what they do",
		},
		{
			packages: []string{"bootstrap/...", "migrate/..."},
			forbid:   []string{module + "/internal/engine", module + "/internal/report"},
			reason:   "planning must not be able to act or to print",
		},
		{
			packages: []string{"internal/...", "bootstrap/...", "providers/...", "stacks/...", "migrate/...", "test/..."},
			forbid:   []string{module + "/cmd/"},
			reason:   "nothing depends on the command",
		},
		{
			packages: []string{"internal/...", "stacks/..."},
			but:      []string{"internal/operate"}, // it is above them, for the command and the Go API to share
			forbid:   []string{module + "/bootstrap", module + "/migrate"},
			reason:   "imports point to lower rooms only",
		},
		{
			packages: []string{"bootstrap/...", "migrate/...", "providers/...", "stacks/..."},
			forbid:   []string{module + "/internal/operate"},
			reason:   "imports point to lower rooms only",
		},
		{
			packages: []string{"internal/..."},
			but:      []string{"internal/operate"},
			forbid:   []string{module + "/providers", module + "/stacks"},
			reason:   "imports point to lower rooms only",
		},
		{
			packages: []string{"providers/..."},
			forbid:   []string{module + "/stacks", module + "/internal/helm", module + "/internal/engine"},
			reason:   "a provider ends where Kubernetes begins",
		},
		{
			packages: []string{"bootstrap/...", "migrate/...", "stacks/...", "providers/...", "cmd/...", "internal/kube", "internal/gitrepo", "internal/keys", "internal/config"},
			forbid:   []string{"helm.sh/"},
			direct:   true,
			reason:   "Helm appears in internal/helm alone, so that its next major version is a change of one package",
		},
		{
			packages: []string{"bootstrap/...", "migrate/...", "stacks/...", "internal/...", "cmd/...", "providers", "providers/kwok", "providers/existing", "providers/gke"},
			forbid:   []string{"sigs.k8s.io/kind"},
			direct:   true,
			reason:   "kind's library appears in providers/kind alone",
		},
		{
			packages: []string{"bootstrap/...", "migrate/...", "stacks/...", "internal/...", "cmd/...", "providers", "providers/kwok", "providers/existing", "providers/kind"},
			forbid:   []string{"cloud.google.com/go/container"},
			direct:   true,
			reason:   "the GKE client appears in providers/gke alone",
		},
	}
}

func TestImports(t *testing.T) {
	pkgs := modulePackages(t)
	for _, r := range rules() {
		for _, p := range pkgs {
			if !matches(r.packages, p.rel) || matches(r.but, p.rel) {
				continue
			}
			for _, chain := range offending(pkgs, p, r) {
				t.Errorf("%s imports %s: %s", p.rel, strings.Join(chain, " -> "), r.reason)
			}
		}
	}
}

func TestProvidersDoNotKnowEachOther(t *testing.T) {
	for _, p := range modulePackages(t) {
		rest, ok := strings.CutPrefix(p.rel, "providers/")
		if !ok {
			continue
		}
		own, _, _ := strings.Cut(rest, "/")
		for _, imp := range p.imports {
			other, ok := strings.CutPrefix(imp, module+"/providers/")
			name, _, _ := strings.Cut(other, "/")
			if ok && name != own && own != "providertest" {
				t.Errorf("%s imports %s: a provider imports no other provider", p.rel, imp)
			}
		}
	}
}

// offending gives the import chains of p that break the rule, one for each forbidden package.
func offending(pkgs []pkg, p pkg, r rule) [][]string {
	var bad [][]string
	seen := map[string]bool{}
	var walk func(p pkg, chain []string)
	walk = func(p pkg, chain []string) {
		for _, imp := range p.imports {
			next := append(slices.Clone(chain), imp)
			if seen[imp] {
				continue
			}
			seen[imp] = true
			if hasPrefix(imp, r.forbid) && !slices.Contains(r.except, imp) {
				bad = append(bad, next)
				continue
			}
			if in := find(pkgs, imp); in != nil && !r.direct {
				walk(*in, next)
			}
		}
	}
	walk(p, nil)
	return bad
}

func hasPrefix(imp string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool {
		return imp == p || strings.HasPrefix(imp, strings.TrimSuffix(p, "/")+"/")
	})
}

func matches(patterns []string, rel string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if base, ok := strings.CutSuffix(p, "/..."); ok {
			return rel == base || strings.HasPrefix(rel, base+"/")
		}
		return rel == p
	})
}

func find(pkgs []pkg, path string) *pkg {
	for i := range pkgs {
		if module+"/"+pkgs[i].rel == path {
			return &pkgs[i]
		}
	}
	return nil
}

// importsOf reads the imports of the non-test files in a folder, for this platform.
func importsOf(dir string) (*build.Package, error) {
	return build.Default.ImportDir(dir, 0)
}
