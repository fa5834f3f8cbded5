package gitrepo

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/go-git/go-billy/v5/osfs"
	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/format/gitignore"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// gitIgnores tells which files of a checkout Git leaves out, by their names in it, unless they are in its index: by its own
// rules, and before them by those of this machine.
func gitIgnores(ctx context.Context, root string) (func(name string) bool, error) {
	patterns, err := machinePatterns(ctx, root)
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

// readPatterns reads a file of patterns; one that is not there has none.
func readPatterns(file string) ([]gitignore.Pattern, error) {
	raw, err := os.ReadFile(file)
	if isNotThere(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(errors.Unwrap(err), fault.Failed, "cannot find out what Git ignores").On("%s", file).WithHint("see who may read it")
	}
	return parsePatterns(raw, nil), nil
}

// parsePatterns reads patterns that count for a folder and all below it.
func parsePatterns(raw []byte, folder []string) []gitignore.Pattern {
	var patterns []gitignore.Pattern
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, gitignore.ParsePattern(line, folder))
		}
	}
	return patterns
}

// isNotThere says so of a file, also of one below what is no folder.
func isNotThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// leftOut tells which files of a folder Git would leave out that is no repository, by their names in it: where it is a
// part of a checkout, what that ignores, and else what the folder itself says. It gives the folder whose rules these are.
func leftOut(ctx context.Context, dir string) (out func(name string) bool, root string, err error) {
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
			out, err := leftOutOf(ctx, repo, root, dir)
			return out, root, err
		case err != nil && !errors.Is(err, git.ErrRepositoryNotExists):
			return nil, "", unreadableRepository(err, root)
		case root == filepath.Dir(root):
			out, err := gitIgnores(ctx, dir)
			return out, dir, err
		}
	}
}

func leftOutOf(ctx context.Context, repo *git.Repository, root, dir string) (func(name string) bool, error) {
	index, err := repo.Storer.Index()
	if err != nil {
		return nil, err
	}
	tracked := map[string]bool{}
	for _, e := range index.Entries {
		tracked[e.Name] = true
	}
	is, err := gitIgnores(ctx, root)
	if err != nil {
		return nil, err
	}
	below, err := filepath.Rel(root, dir)
	return func(name string) bool {
		name = path.Join(filepath.ToSlash(below), name)
		return !tracked[name] && is(name)
	}, err
}
