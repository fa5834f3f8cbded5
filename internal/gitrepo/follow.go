package gitrepo

import (
	"context"
	"io/fs"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// tree follows the Kustomizations of Flux from a path to the paths that they apply.
type tree struct {
	repo     fs.FS
	source   Source
	root     string                 // the path that it starts from
	seen     map[string]bool        // paths that were rendered, or tried
	declared map[gitRepository]bool // GitRepositories of all paths so far, and whether they are this one
	open     []link                 // Kustomizations that were not followed yet
}

// link is a Kustomization that applies a folder of a GitRepository.
type link struct {
	from   *Rendered
	name   string
	source gitRepository
	dir    string
	parts  []string // components that it adds to what the folder has
	opens  bool     // it decrypts what SOPS encrypted
	firm   bool     // it is applied as it is written here: nothing on the way to it changes it, and Git does not suspend it
}

// note keeps the GitRepositories and the Kustomizations of a path.
func (t *tree) note(r *Rendered) {
	for name, ours := range t.source.repositories(r.Objects) {
		t.declared[name] = ours
	}
	for _, o := range r.Objects {
		if source, is := sourceOf(o); is {
			name := gitRepository{text(o, "metadata", "namespace"), text(o, "metadata", "name")}.String()
			suspended, _, _ := unstructured.NestedBool(o, "spec", "suspend")
			parts, _, _ := unstructured.NestedStringSlice(o, "spec", "components")
			opens := text(o, "spec", "decryption", "provider") == "sops"
			t.open = append(t.open, link{r, name, source, clean(text(o, "spec", "path")), parts, opens, r.Path == t.root && !suspended})
		}
	}
}

// follow renders what the Kustomizations apply from this repository. The GitRepository of one may be declared in a path that is only
// rendered later: what is not known yet is looked at again, until nothing new turns up.
func (t *tree) follow(ctx context.Context) error {
	var faults []error
	for again := true; again; {
		again = false
		links := t.open
		t.open = nil
		for _, l := range links {
			ours, known := t.isOurs(l.source)
			switch {
			case !known:
				t.open = append(t.open, l)
				continue
			case !ours || t.seen[l.dir]:
				continue
			case !isFolder(t.repo, l.dir):
				if l.firm && !t.isDeclared(l.source) {
					faults = append(faults, noFolder(t.repo, l.dir, "its spec.path").On("Kustomization %s: path %s", l.name, l.dir))
				}
				continue
			}
			child, err := t.render(ctx, l.dir, l.opens, l.parts...)
			if err != nil {
				faults = append(faults, err)
				continue
			}
			l.from.Children = append(l.from.Children, child)
			again = true
		}
	}
	for _, l := range t.open {
		if t.source.Name != "" && isFolder(t.repo, l.dir) {
			faults = append(faults, t.orphan(l))
		}
	}
	return fault.Join(faults...)
}

// isOurs says whether a GitRepository is this repository at this ref. It is not known of one that nothing declares so far.
func (t *tree) isOurs(source gitRepository) (ours, known bool) {
	for name, ours := range t.declared {
		if name.is(source) {
			return ours, true
		}
	}
	own := gitRepository{t.source.Namespace, t.source.Name}
	return true, t.source.Name != "" && own.is(source)
}

// isDeclared says whether a path makes a GitRepository. What it has then need not be what Git has: it may include others.
func (t *tree) isDeclared(source gitRepository) bool {
	for name := range t.declared {
		if name.is(source) {
			return true
		}
	}
	return false
}

// orphan is the fault of a Kustomization that applies a folder of this repository by a GitRepository that nobody makes.
func (t *tree) orphan(l link) error {
	f := fault.New(fault.Usage, "applies %s of the GitRepository %s, which is not in the path", l.dir, l.source).On("Kustomization %s", l.name)
	if l.source.namespace != "" && l.source.namespace != t.source.Namespace {
		return f.WithHint("rekindle makes the GitRepository %s/%s: name that one in spec.sourceRef, with its namespace", t.source.Namespace, t.source.Name)
	}
	return f.WithHint("rekindle makes one named %s: set spec.reconciler.flux.name to %s in the Cluster document", t.source.Name, l.source.name)
}

func isFolder(repo fs.FS, dir string) bool {
	info, err := fs.Stat(repo, dir)
	return err == nil && info.IsDir()
}
