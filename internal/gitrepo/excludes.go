package gitrepo

import (
	"cmp"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	gitconfig "github.com/go-git/go-git/v5/plumbing/format/config"
	"github.com/go-git/go-git/v5/plumbing/format/gitignore"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// machinePatterns are those of the file that Git's configuration names, or else of the one that it looks for by itself:
// https://git-scm.com/docs/gitignore#_description.
func machinePatterns(ctx context.Context, root string) ([]gitignore.Pattern, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(cmp.Or(os.Getenv("XDG_CONFIG_HOME"), filepath.Join(home, ".config")), "git")
	file, err := excludesFile(ctx, root, home, folder)
	if err != nil {
		return nil, err
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

// excludesFile is the file that Git's configuration names, empty when it names none. Git itself is asked, as only it knows all
// that it takes: includes, worktrees, files that are not quite as its documentation has them. Where there is no git, its files are read.
func excludesFile(ctx context.Context, root, home, folder string) (string, error) {
	program, err := exec.LookPath("git")
	if err == nil {
		return askGit(ctx, program, root)
	}
	configs := []string{filepath.Join(root, ".git", "config")} // what counts most comes first
	if global, set := os.LookupEnv("GIT_CONFIG_GLOBAL"); set {
		configs = append(configs, global)
	} else {
		configs = append(configs, filepath.Join(home, ".gitconfig"), filepath.Join(folder, "config"))
	}
	configs = append(configs, cmp.Or(os.Getenv("GIT_CONFIG_SYSTEM"), "/etc/gitconfig"))
	for _, config := range configs {
		file, err := excludesFileOf(config)
		if err != nil {
			return "", fault.Wrap(err, fault.Failed, "cannot find out what Git ignores").On("%s", config).WithHint("correct it, or install git, which is then asked instead")
		}
		if file != "" {
			return file, nil
		}
	}
	return "", nil
}

// askGit asks Git which file its configuration names.
func askGit(ctx context.Context, program, root string) (string, error) {
	const unset = 1 // https://git-scm.com/docs/git-config#_description
	out, err := gitIn(ctx, program, root, "config", "--type=path", "--get", "core.excludesFile").Output()
	failed := (*exec.ExitError)(nil)
	switch {
	case err == nil:
		return strings.TrimSuffix(string(out), "\n"), nil
	case errors.As(err, &failed) && failed.ExitCode() == unset:
		return "", nil
	case errors.As(err, &failed) && len(failed.Stderr) > 0:
		err = errors.New(strings.TrimSpace(string(failed.Stderr)))
	}
	return "", fault.Wrap(err, fault.Failed, "cannot find out what Git ignores").On("folder %s", root).WithHint("git config --list shows what is wrong with its configuration")
}

// excludesFileOf is the file that one configuration of Git names; empty when it names none, or is not there.
func excludesFileOf(config string) (string, error) {
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
