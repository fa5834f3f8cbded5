package gitrepo

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	kustomize "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// remote is what kustomize would fetch: a scheme, scp-like, a host with a path, or a query.
var remote = regexp.MustCompile(`://|^[\w.-]+@[\w.-]+:|^(www\.)?(github|gitlab|bitbucket)\.(com|org)[:/]|\?(ref|version|submodules|timeout)=`)

// walker finds the files that a path uses by following its kustomization files.
type walker struct {
	repo   fs.FS
	files  map[string][]byte
	dirs   map[string]bool
	below  bool // what is walked is the path of a Kustomization of Flux, and not the one that a person gave
	faults []error

	decrypts bool     // whoever applies the path decrypts what SOPS encrypted
	warnings []string // of what renders, and hardly as it was meant
}

// root takes in the path itself, making a kustomization where it has none.
func (w *walker) root(dir string) {
	if kustomizationFile(w.repo, dir) != "" {
		w.dir(dir)
		return
	}
	if w.isChart(dir) {
		return
	}
	w.generate(dir)
}

// isEmpty says of what was walked that Flux applies nothing of it. kustomize by itself refuses a kustomization that says nothing.
func (w *walker) isEmpty(dir string) bool {
	file := kustomizationFile(w.repo, dir)
	if file == "" {
		return len(w.files) == 0
	}
	var k kustomize.Kustomization
	_, flux := w.repo.(*artifact)
	if !flux || k.Unmarshal(w.files[file]) != nil {
		return false
	}
	k.FixKustomization()
	return k.CheckEmpty() != nil
}

// isChart notes a fault for a folder that is a Helm chart: its templates are no manifests.
func (w *walker) isChart(dir string) bool {
	if info, err := fs.Stat(w.repo, path.Join(dir, "Chart.yaml")); err != nil || info.IsDir() {
		return false
	}
	w.faults = append(w.faults, fault.New(fault.Usage, "is a Helm chart, which cannot be rendered as a path").On("path %s", dir).
		WithHint("make it a release of a Stack, a HelmRelease of Flux, or an Application of Argo CD that the path holds; "+
			"charts that are beside manifests go out of the path, or the path gets a kustomization file that names the manifests"))
	return true
}

// HasKustomization says whether a folder of a repository has a kustomization file.
func HasKustomization(repo fs.FS, dir string) bool { return kustomizationFile(repo, dir) != "" }

func kustomizationFile(repo fs.FS, dir string) string {
	if files := kustomizationFiles(repo, dir); len(files) > 0 {
		return files[0]
	}
	return ""
}

// kustomizationFiles are those of all names that kustomize knows, of which a folder may have one.
func kustomizationFiles(repo fs.FS, dir string) (files []string) {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		p := path.Join(dir, name)
		if info, err := fs.Stat(repo, p); err == nil && !info.IsDir() {
			files = append(files, p)
		}
	}
	return files
}

// generate is what Flux does for a path without a kustomization file: every manifest below it is a
// resource, and so is every folder that has a kustomization file.
func (w *walker) generate(dir string) {
	var resources []string
	err := fs.WalkDir(w.repo, dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel := strings.TrimPrefix(p, dir+"/")
		switch {
		case w.ignores(d):
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.IsDir() && kustomizationFile(w.repo, p) != "":
			resources = append(resources, rel)
			w.dir(p)
			return fs.SkipDir
		case d.IsDir() && w.isChart(p):
			return fs.SkipDir
		case !d.IsDir() && (path.Ext(p) == ".yaml" || path.Ext(p) == ".yml"):
			resources = append(resources, rel)
			w.resource(p)
		}
		return nil
	})
	if err != nil {
		w.fail(dir, "read it: %w", err)
		return
	}
	if len(resources) == 0 && w.below {
		return // Flux applies nothing then, and is content: a folder may be there for what comes later
	}
	if len(resources) == 0 {
		w.faults = append(w.faults, fault.New(fault.Usage, "has neither a kustomization file nor a manifest").
			On("path %s", dir).WithHint("correct spec.source.path"))
		return
	}
	raw, err := yaml.Marshal(kustomize.Kustomization{
		TypeMeta:  kustomize.TypeMeta{APIVersion: kustomize.KustomizationVersion, Kind: kustomize.KustomizationKind},
		Resources: resources,
	})
	if err != nil {
		w.fail(dir, "make a kustomization: %w", err)
		return
	}
	w.files[path.Join(dir, konfig.DefaultKustomizationFileName())] = raw
}

// ignores leaves out what nobody means as a manifest. What is Flux's artifact has nothing more to leave out: with a .sourceignore
// of its own, a repository may have such files in it.
func (w *walker) ignores(d fs.DirEntry) bool {
	if _, is := w.repo.(*artifact); is {
		return false
	}
	if d.IsDir() {
		return slices.Contains([]string{".git", ".github", ".circleci"}, d.Name())
	}
	return slices.Contains([]string{".travis.yml", ".gitlab-ci.yml", "appveyor.yml", ".drone.yml", "cloudbuild.yaml",
		"codeship-services.yml", "codeship-steps.yml", ".goreleaser.yml", ".goreleaser.brew.yml", ".sops.yaml", ".flux.yaml"}, d.Name())
}

// dir takes in a folder with a kustomization file and everything that it names.
func (w *walker) dir(dir string) {
	if w.dirs[dir] {
		return
	}
	w.dirs[dir] = true
	files := kustomizationFiles(w.repo, dir)
	if len(files) > 1 { // kustomize is given the first one alone, and would not notice
		w.faults = append(w.faults, fault.New(fault.Usage, "has several kustomization files: %s", strings.Join(files, ", ")).On("path %s", dir).
			WithHint("keep one: kustomize takes a folder with exactly one"))
		return
	}
	file := files[0]
	raw, err := fs.ReadFile(w.repo, file)
	if err != nil {
		w.fail(file, "read it: %w", err)
		return
	}
	if line, err := checkAliases(raw, true); err != nil {
		w.faults = append(w.faults, fault.Wrap(err, fault.Usage, "cannot be rendered").At(file, line))
		return
	}
	w.files[file] = raw
	var k kustomize.Kustomization
	if err := k.Unmarshal(raw); err != nil {
		w.faults = append(w.faults, fault.Wrap(err, fault.Usage, "not a kustomization").At(file, 0))
		return
	}
	k.FixKustomization() // moves deprecated fields to where they are today
	if len(k.HelmCharts)+len(k.HelmChartInflationGenerator) > 0 {
		w.faults = append(w.faults, fault.New(fault.Usage, "helmCharts is run neither by Flux nor by rekindle (Argo CD runs it only with --enable-helm)").At(file, 0).
			WithHint("make the chart a release of a Stack, a HelmRelease of Flux, or an Application of Argo CD"))
	}
	for _, entry := range slices.Concat(k.Resources, k.Components) {
		w.entry(file, dir, entry)
	}
	for _, entry := range slices.Concat(k.Generators, k.Transformers, k.Validators) {
		w.plugin(file, dir, entry)
	}
	for _, entry := range fileFields(&k) {
		w.plain(file, dir, entry)
	}
	w.sealed(file, dir, &k)
}

// fileFields are the paths of a kustomization that name files only.
func fileFields(k *kustomize.Kustomization) []string {
	paths := slices.Concat(k.Crds, k.Configurations)
	//lint:ignore SA1019 deprecated, and still taken by kustomize
	for _, p := range slices.Concat(k.Patches, k.PatchesJson6902) {
		paths = append(paths, p.Path)
	}
	//lint:ignore SA1019 deprecated, and still taken by kustomize
	for _, p := range k.PatchesStrategicMerge {
		if !strings.Contains(string(p), "\n") {
			paths = append(paths, string(p))
		}
	}
	for _, r := range k.Replacements {
		paths = append(paths, r.Path)
	}
	pairs := []kustomize.KvPairSources{}
	for _, g := range k.ConfigMapGenerator {
		pairs = append(pairs, g.KvPairSources)
	}
	for _, g := range k.SecretGenerator {
		pairs = append(pairs, g.KvPairSources)
	}
	for _, p := range pairs {
		paths = append(append(paths, p.EnvSources...), p.EnvSource)
		for _, f := range p.FileSources {
			paths = append(paths, fileOf(f))
		}
	}
	return append(paths, k.OpenAPI["path"])
}

// fileOf is the file of a source of a generator: NAME, or KEY=NAME.
func fileOf(source string) string {
	if _, name, keyed := strings.Cut(source, "="); keyed {
		return name
	}
	return source
}

// entry takes in a resource, which is a file or a folder.
func (w *walker) entry(file, dir, entry string) {
	p, info := w.find(file, dir, entry)
	switch {
	case info == nil:
	case !info.IsDir():
		w.resource(p)
	case kustomizationFile(w.repo, p) == "":
		w.fail(file, "%s is a folder without a kustomization file", entry)
	default:
		w.dir(p)
	}
}

// resource takes in a file of manifests and sees to it that it is YAML.
func (w *walker) resource(p string) {
	if !w.take(p) {
		return
	}
	if line, err := checkYAML(w.files[p]); err != nil {
		w.faults = append(w.faults, fault.Wrap(err, fault.Usage, "not valid YAML").At(p, line))
	}
}

// plain takes in a file, or, as sources of a generator may be, all files of a folder.
func (w *walker) plain(file, dir, entry string) {
	if entry == "" {
		return
	}
	p, info := w.find(file, dir, entry)
	if info == nil {
		return
	}
	if !info.IsDir() {
		w.take(p)
		return
	}
	entries, err := fs.ReadDir(w.repo, p)
	if err != nil {
		w.fail(file, "read %s: %w", p, err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			w.take(path.Join(p, e.Name()))
		}
	}
}

// find locates what a kustomization names; nil means that a fault was noted.
func (w *walker) find(file, dir, entry string) (string, fs.FileInfo) {
	p := path.Join(dir, entry)
	if p == ".." || strings.HasPrefix(p, "../") || path.IsAbs(entry) {
		w.fail(file, "%s leads out of the repository", entry)
		return p, nil
	}
	info, err := fs.Stat(w.repo, p)
	switch {
	case overHTTP.MatchString(entry), err == nil && info.IsDir() && remote.MatchString(entry):
		w.elsewhere(file, entry) // kustomize does not look whether there is one of that name here
	case err == nil:
		return p, info
	case remote.MatchString(entry):
		w.elsewhere(file, entry)
	case w.leavesOut(p):
		w.faults = append(w.faults, fault.New(fault.Usage, "%s is not in what Flux takes of the repository: %s", entry, w.repo.(*artifact).why()).At(file, 0).
			WithHint("add the line !/%s at the end of %s in the repository's root, after which only the %s files say what is left out", p, sourceIgnore, sourceIgnore))
	default:
		w.fail(file, "%s does not exist in the repository (links and submodules do not count)", entry)
	}
	return p, nil
}

// leavesOut says whether Flux leaves a file out.
func (w *walker) leavesOut(p string) bool {
	taken, is := w.repo.(*artifact)
	return is && taken.leavesOut(p)
}

// elsewhere notes something that kustomize would fetch.
func (w *walker) elsewhere(file, what string) {
	w.faults = append(w.faults, fault.New(fault.Usage, "the remote base %s", what).At(file, 0).
		WithHint("keep a copy in the repository: what a server elsewhere says cannot be pinned or proven"))
}

func (w *walker) take(p string) bool {
	if _, ok := w.files[p]; ok {
		return true
	}
	raw, err := fs.ReadFile(w.repo, p)
	if err != nil {
		w.fail(p, "read it: %w", err)
		return false
	}
	if line, err := checkAliases(raw, false); err != nil {
		w.faults = append(w.faults, fault.Wrap(err, fault.Usage, "cannot be rendered").At(p, line))
		return false
	}
	w.files[p] = raw
	if bytes.HasPrefix(raw, []byte(lfsPointer)) {
		w.faults = append(w.faults, fault.New(fault.Usage, "is a pointer of Git LFS: its content is not in the repository, and the cluster would get the pointer").At(p, 0).
			WithHint("take it out of LFS: git lfs untrack %s, then git add --renormalize %s", p, p))
		return false
	}
	return true
}

// lfsPointer begins what Git LFS leaves in a commit: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
const lfsPointer = "version https://git-lfs.github.com/spec/"

func (w *walker) fail(file, format string, args ...any) {
	w.faults = append(w.faults, fault.New(fault.Usage, "%s", fmt.Errorf(format, args...)).At(file, 0))
}

// used are the files of the repository; a generated kustomization is not one of them.
func (w *walker) used() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(w.files)), func(p string) bool {
		_, err := fs.Stat(w.repo, p)
		return err != nil
	})
}

func (w *walker) encrypted() []string {
	return slices.DeleteFunc(w.used(), func(p string) bool { return !isEncrypted(p, w.files[p]) })
}
