package gitrepo

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/go-git/go-billy/v5/osfs"
	git "github.com/go-git/go-git/v5"
	gitconfig "github.com/go-git/go-git/v5/plumbing/format/config"
	"github.com/go-git/go-git/v5/plumbing/format/gitignore"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// gitIgnores tells which files of a checkout Git leaves out, by their names in it, unless they are in its index: by its own
// rules, and before them by those of this machine.
func gitIgnores(root string) (func(name string) bool, error) {
	patterns, err := machinePatterns(root)
	if err != nil {
		return nil, err
	}
	own, err := gitignore.ReadPatterns(osfs.New(root), nil)
	if err != nil {
		return nil, err
	}
	matcher := gitignore.NewMatcher(append(patterns, own...)) // the last one that matches counts
	return func(name string) bool { return matcher.Match(strings.Split(name, "/"), false) }, nil
}

// machinePatterns are those of the file that Git's configuration names, or else of the one that it looks for by itself:
// https://git-scm.com/docs/gitignore#_description.
func machinePatterns(root string) ([]gitignore.Pattern, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(cmp.Or(os.Getenv("XDG_CONFIG_HOME"), filepath.Join(home, ".config")), "git")
	configs := []string{filepath.Join(root, ".git", "config")} // what counts most comes first
	if global := os.Getenv("GIT_CONFIG_GLOBAL"); global != "" {
		configs = append(configs, global)
	} else {
		configs = append(configs, filepath.Join(home, ".gitconfig"), filepath.Join(folder, "config"))
	}
	configs = append(configs, cmp.Or(os.Getenv("GIT_CONFIG_SYSTEM"), "/etc/gitconfig"))
	file := ""
	for _, config := range configs {
		if file, err = excludesFile(config); err != nil {
			return nil, fault.Wrap(err, fault.Failed, "what Git ignores is not known").On("%s", config).WithHint("git config --list shows what is wrong with it")
		}
		if file != "" {
			break
		}
	}
	switch rest, below := strings.CutPrefix(file, "~/"); {
	case file == "":
		file = filepath.Join(folder, "ignore")
	case below:
		file = filepath.Join(home, rest)
	case !filepath.IsAbs(file):
		file = filepath.Join(root, file)
	}
	return readPatterns(file)
}

// excludesFile is the file that a configuration of Git says; empty when it says none, or is not there.
func excludesFile(config string) (string, error) {
	f, err := os.Open(config)
	if isNotThere(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	read := gitconfig.New()
	if err := gitconfig.NewDecoder(f).Decode(read); err != nil {
		return "", err
	}
	return read.Section("core").Options.Get("excludesfile"), nil
}

// readPatterns reads a file of patterns; one that is not there has none.
func readPatterns(file string) ([]gitignore.Pattern, error) {
	raw, err := os.ReadFile(file)
	if isNotThere(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(errors.Unwrap(err), fault.Failed, "what Git ignores is not known").On("%s", file).WithHint("see who may read it")
	}
	var patterns []gitignore.Pattern
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, gitignore.ParsePattern(line, nil))
		}
	}
	return patterns, nil
}

// isNotThere says so of a file, also of one below what is no folder.
func isNotThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// leftOut tells which files of a folder Git would leave out that is no repository, by their names in it: where it is a
// part of a checkout, what that ignores. It gives that checkout; empty when there is none.
func leftOut(dir string) (out func(name string) bool, root string, err error) {
	if dir, err = filepath.Abs(dir); err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil, "", err
	}
	for root = filepath.Dir(dir); ; root = filepath.Dir(root) {
		repo, err := git.PlainOpenWithOptions(root, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
		_, checkout := os.Lstat(filepath.Join(root, ".git"))
		switch {
		case err == nil && checkout == nil:
			out, err := leftOutOf(repo, root, dir)
			return out, root, err
		case err != nil && !errors.Is(err, git.ErrRepositoryNotExists):
			return nil, "", fault.Wrap(err, fault.Failed, "its repository can not be read").On("folder %s", root)
		case root == filepath.Dir(root):
			return func(string) bool { return false }, "", nil
		}
	}
}

func leftOutOf(repo *git.Repository, root, dir string) (func(name string) bool, error) {
	index, err := repo.Storer.Index()
	if err != nil {
		return nil, err
	}
	tracked := map[string]bool{}
	for _, e := range index.Entries {
		tracked[e.Name] = true
	}
	is, err := gitIgnores(root)
	if err != nil {
		return nil, err
	}
	below, err := filepath.Rel(root, dir)
	return func(name string) bool {
		name = path.Join(filepath.ToSlash(below), name)
		return !tracked[name] && is(name)
	}, err
}
