package gitrepo

import (
	"net/url"
	"strings"

	"github.com/rekindle-dev/rekindle/internal/config"
)

// Origin says which repository is meant, and which ref of it, however they are spelt. Two are compared with ==.
type Origin struct {
	address, ref string
}

// NewOrigin is the repository at an address, at a ref.
func NewOrigin(address string, ref config.Ref) Origin {
	name := "refs/heads/" + ref.Branch
	switch {
	case ref.Commit != "":
		name = ref.Commit
	case ref.Tag != "":
		name = "refs/tags/" + ref.Tag
	case ref.Branch == "":
		name += config.DefaultBranch
	}
	return Origin{addressOf(address), name}
}

// OriginOf is what a GitRepository of Flux fetches.
func OriginOf(repository map[string]any) Origin {
	spec, _ := repository["spec"].(map[string]any)
	ref, _ := spec["ref"].(map[string]any)
	o := Origin{addressOf(text(spec, "url")), "refs/heads/master"} // Flux's own default
	for _, field := range []struct{ name, prefix string }{         // in the order in which Flux takes them
		{"commit", ""}, {"name", ""}, {"semver", "semver "}, {"tag", "refs/tags/"}, {"branch", "refs/heads/"},
	} {
		if value := text(ref, field.name); value != "" {
			o.ref = field.prefix + value
			break
		}
	}
	return o
}

// addressOf is what all spellings of the address of a repository have in common: the host and the path, by https or by ssh,
// as anybody, with or without .git.
func addressOf(address string) string {
	u, err := url.Parse(config.RepoURL(address))
	if err != nil || u.Host == "" {
		return address
	}
	host := strings.ToLower(u.Hostname())
	if port := u.Port(); port != "" && port != map[string]string{"https": "443", "http": "80", "ssh": "22"}[u.Scheme] {
		host += ":" + port
	}
	return host + "/" + strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
}

// Source is how Flux knows the repository that is rendered.
type Source struct {
	Origin
	Namespace, Name string // of the GitRepository that rekindle makes of it; empty where Flux does not run
}

// gitRepository names a GitRepository.
type gitRepository struct{ namespace, name string }

// is says whether two names are of one object. A namespace that nothing says is that of whoever applies it.
func (g gitRepository) is(other gitRepository) bool {
	return g.name == other.name && (g.namespace == other.namespace || g.namespace == "" || other.namespace == "")
}

// String is "flux-system/ops".
func (g gitRepository) String() string { return strings.TrimPrefix(g.namespace+"/"+g.name, "/") }

// sourceOf names the GitRepository that a Kustomization of Flux applies, if it is one.
func sourceOf(o map[string]any) (source gitRepository, is bool) {
	if group(o) != "kustomize.toolkit.fluxcd.io" || o["kind"] != "Kustomization" || text(o, "spec", "sourceRef", "kind") != kindGitRepository {
		return gitRepository{}, false
	}
	source = gitRepository{text(o, "spec", "sourceRef", "namespace"), text(o, "spec", "sourceRef", "name")}
	if source.namespace == "" {
		source.namespace = text(o, "metadata", "namespace")
	}
	return source, true
}

const kindGitRepository = "GitRepository"

// repositories says of the GitRepositories that some objects declare whether they are this one.
func (s Source) repositories(objects []map[string]any) map[gitRepository]bool {
	found := map[gitRepository]bool{}
	for _, o := range objects {
		if group(o) == "source.toolkit.fluxcd.io" && o["kind"] == kindGitRepository {
			found[gitRepository{text(o, "metadata", "namespace"), text(o, "metadata", "name")}] = OriginOf(o) == s.Origin
		}
	}
	return found
}
