package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	kustomize "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// rendering lets one build run at a time: kustomize keeps its schema in a variable of its own.
var rendering sync.Mutex

// Rendered is what a path of the repository says should be in a cluster.
type Rendered struct {
	Path      string
	Objects   []map[string]any // as applied for the path itself, in kustomize's order, with the types of unstructured objects
	Files     []string         // of the repository that were used, sorted
	Encrypted []string         // those of them that SOPS encrypted
	Warnings  []string         // what a person should know of them
	Children  []*Rendered      // paths of the same repository that Flux Kustomizations among the objects point to
}

// All is this and everything below it.
func (r *Rendered) All() []*Rendered {
	all := []*Rendered{r}
	for _, c := range r.Children {
		all = append(all, c.All()...)
	}
	return all
}

// Render builds a path as Flux's kustomize-controller would: with the path's kustomization file, or with one made of all manifests
// below it; where it is Flux that follows the repository, of the files that it takes of it. Nothing is fetched: a remote base, and a
// file of a generator or transformer over HTTP, is a fault. Paths of this repository that Flux Kustomizations among the objects point
// to are rendered too; their files are counted in, and their warnings. All faults are reported at once.
func Render(ctx context.Context, repo fs.FS, dir string, source Source) (*Rendered, error) {
	t := &tree{repo: repo, source: source, root: clean(dir), seen: map[string]bool{}, declared: map[gitRepository]bool{}}
	if source.Name != "" {
		taken, err := artifactOf(repo)
		if err != nil {
			return nil, fault.Wrap(err, fault.Failed, "cannot find out what Flux leaves out").On("%s files", sourceIgnore)
		}
		t.repo = taken
	}
	r, err := t.render(ctx, t.root, source.Name != "")
	if err != nil {
		return nil, err
	}
	if err := t.follow(ctx); err != nil {
		return nil, err
	}
	for _, child := range r.All()[1:] {
		r.Files = append(r.Files, child.Files...)
		r.Encrypted = append(r.Encrypted, child.Encrypted...)
		r.Warnings = append(r.Warnings, child.Warnings...)
	}
	for _, list := range []*[]string{&r.Files, &r.Encrypted, &r.Warnings} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return r, nil
}

// clean makes a path of an fs.FS out of one as documents write it: "./clusters/prod", "/", "".
func clean(dir string) string {
	return strings.TrimPrefix(path.Clean("/"+dir), "/") + dotIfRoot(dir)
}

func dotIfRoot(dir string) string {
	if path.Clean("/"+dir) == "/" {
		return "."
	}
	return ""
}

// render renders one path alone, and notes the Kustomizations in it. Of components that Flux adds to it, the files count, since they
// may be encrypted.
func (t *tree) render(ctx context.Context, dir string, decrypts bool, components ...string) (*Rendered, error) {
	t.seen[dir] = true
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := checkFolder(t.repo, dir); err != nil {
		return nil, err
	}
	w := &walker{repo: t.repo, files: map[string][]byte{}, dirs: map[string]bool{}, below: dir != t.root, decrypts: decrypts}
	w.root(dir)
	empty := w.isEmpty(dir)
	for _, c := range components {
		if p := path.Join(dir, c); kustomizationFile(t.repo, p) != "" { // else Flux tells, unless it is to ignore that
			w.dir(p)
		}
	}
	if err := fault.Join(w.faults...); err != nil {
		return nil, err
	}
	r := &Rendered{Path: dir, Files: w.used(), Encrypted: w.encrypted(), Warnings: w.warnings}
	if empty {
		return r, nil
	}
	var err error
	if r.Objects, err = build(w, dir); err != nil {
		return nil, err
	}
	t.note(r)
	return r, nil
}

func checkFolder(repo fs.FS, dir string) error {
	if isFolder(repo, dir) {
		return nil
	}
	return noFolder(repo, dir, "spec.source.path").On("path %s", dir)
}

// noFolder is the fault of a path that is none, with those that are, for whoever corrects the field.
func noFolder(repo fs.FS, dir, field string) *fault.Error {
	e := fault.New(fault.Usage, "the repository has no such folder")
	if _, err := fs.Stat(repo, dir); err == nil {
		e = fault.New(fault.Usage, "is a file: expected a folder")
	}
	var have []string
	_ = fs.WalkDir(repo, ".", func(p string, d fs.DirEntry, err error) error { // only for the hint
		if err == nil && d.IsDir() && p != "." {
			have = append(have, p)
		}
		return nil
	})
	if len(have) == 0 {
		return e.WithHint("correct %s; the repository has no folders", field)
	}
	return e.WithHint("correct %s; similar paths are %s", field, nearest(have, dir))
}

// build runs kustomize over exactly the files that the walk found. So it can fetch nothing, and a file
// that the walk overlooked breaks the build instead of escaping the proof of the keys.
func build(w *walker, dir string) (objects []map[string]any, err error) {
	mem := filesys.MakeFsInMemory()
	for name, raw := range w.files {
		if err := mem.WriteFile("/"+name, raw); err != nil {
			return nil, fmt.Errorf("copy %s: %w", name, err)
		}
	}
	res, err := run(mem, path.Clean("/"+dir))
	if err != nil {
		return nil, fault.Wrap(tidy(err), fault.Usage, "does not render").On("path %s", dir).
			WithHint("run kustomize build --load-restrictor LoadRestrictionsNone %s in a checkout to see the same", dir)
	}
	for _, one := range res.Resources() {
		object := map[string]any{}
		raw, err := one.MarshalJSON()
		if err == nil {
			err = json.Unmarshal(raw, &object)
		}
		if err != nil {
			return nil, fault.Wrap(err, fault.Usage, "%s does not render", one.CurId()).On("path %s", dir)
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// run calls kustomize, which panics on some invalid objects.
func run(mem filesys.FileSystem, dir string) (res resmap.ResMap, err error) {
	rendering.Lock()
	defer rendering.Unlock()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("kustomize gave up: %v", r)
		}
	}()
	return krusty.MakeKustomizer(&krusty.Options{
		LoadRestrictions: kustomize.LoadRestrictionsNone, // as Flux: a base may lie beside the overlay
		PluginConfig:     kustomize.DisabledPluginConfig(),
	}).Run(mem, dir)
}

// tidy takes the folders of the in-memory copy out of kustomize's text: a reader knows none of them.
func tidy(err error) error {
	return errors.New(strings.NewReplacer("'/", "'", "\"/", "\"", " /", " ").Replace(err.Error()))
}
