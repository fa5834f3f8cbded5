package gitrepo

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

const (
	sourceIgnore = ".sourceignore"

	// What Flux leaves out by itself, always and where no file says more:
	// https://fluxcd.io/flux/components/source/gitrepositories/#excluding-files.
	fluxAlways  = ".git/\n.gitignore\n.gitmodules\n.gitattributes\n"
	fluxDefault = "*.jpg\n*.jpeg\n*.gif\n*.png\n*.wmv\n*.flv\n*.tar.gz\n*.zip\n" +
		".github/\n.circleci/\n.travis.yml\n.gitlab-ci.yml\nappveyor.yml\n.drone.yml\ncloudbuild.yaml\ncodeship-services.yml\ncodeship-steps.yml\n" +
		"**/.goreleaser.yml\n**/.sops.yaml\n**/.flux.yaml\n"
)

// artifact is what Flux takes of a repository: all files but those that the .sourceignore files in it leave out, or, where there
// are none, those that Flux leaves out by default. Folders stay: one that is empty then is one without manifests.
type artifact struct {
	fs.FS
	matcher gitignore.Matcher
	custom  bool // the repository says itself what is left out
}

func artifactOf(repo fs.FS) (*artifact, error) {
	var own []gitignore.Pattern
	err := fs.WalkDir(repo, ".", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		file := path.Join(dir, sourceIgnore)
		if info, err := fs.Stat(repo, file); err != nil || !info.Mode().IsRegular() {
			return nil //nolint:nilerr // most folders have none
		}
		raw, err := fs.ReadFile(repo, file)
		own = append(own, parsePatterns(raw, parts(dir))...)
		return err
	})
	rules := parsePatterns([]byte(fluxAlways), nil)
	if len(own) == 0 {
		rules = append(rules, parsePatterns([]byte(fluxDefault), nil)...)
	}
	return &artifact{repo, gitignore.NewMatcher(append(rules, own...)), len(own) > 0}, err
}

// parts are the folders on the way to one, which the patterns in it count for.
func parts(dir string) []string {
	if dir == "." {
		return nil
	}
	return strings.Split(dir, "/")
}

// leavesOut says whether a file of the repository is not in the artifact.
func (a *artifact) leavesOut(name string) bool {
	info, err := fs.Stat(a.FS, name)
	return err == nil && !info.IsDir() && a.matcher.Match(strings.Split(name, "/"), false)
}

// why says what leaves a file out.
func (a *artifact) why() string {
	if a.custom {
		return "a " + sourceIgnore + " file leaves it out"
	}
	return "by default it leaves out images, archives and the files of CI systems"
}

func (a *artifact) visible(op, name string) error {
	if a.leavesOut(name) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return nil
}

// Open implements fs.FS.
func (a *artifact) Open(name string) (fs.File, error) {
	if err := a.visible("open", name); err != nil {
		return nil, err
	}
	return a.FS.Open(name)
}

// Stat implements fs.StatFS.
func (a *artifact) Stat(name string) (fs.FileInfo, error) {
	if err := a.visible("stat", name); err != nil {
		return nil, err
	}
	return fs.Stat(a.FS, name)
}

// ReadFile implements fs.ReadFileFS.
func (a *artifact) ReadFile(name string) ([]byte, error) {
	if err := a.visible("read", name); err != nil {
		return nil, err
	}
	return fs.ReadFile(a.FS, name)
}

// ReadDir implements fs.ReadDirFS.
func (a *artifact) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(a.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() && a.leavesOut(path.Join(name, e.Name())) }), err
}
