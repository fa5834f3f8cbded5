package gitrepo

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// gitDiffers tells which of the tracked files of a checkout differ from its last commit by Git's own rules: go-git knows no filters
// (git-crypt, LFS), no line ends of .gitattributes and no core.fileMode, so to it files differ that nobody has changed. Where
// there is no git, or Git does not trust the owner of the folder, all that go-git says counts.
func gitDiffers(ctx context.Context, root string) (func(name string) bool, error) {
	all := func(string) bool { return true }
	program, err := exec.LookPath("git")
	if err != nil {
		return all, nil //nolint:nilerr // then go-git's word counts
	}
	out, err := gitIn(ctx, program, root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=no", "--ignore-submodules=all").Output()
	failed := (*exec.ExitError)(nil)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, exec.ErrWaitDelay): // git has answered, and a filter stays
	case errors.As(err, &failed) && strings.Contains(string(failed.Stderr), "dubious ownership"):
		return all, nil
	case errors.As(err, &failed):
		return nil, fault.Wrap(errors.New(strings.TrimSpace(string(failed.Stderr))), fault.Failed, "cannot find out what is changed").On("folder %s", root).
			WithHint("run git status in it to see the same")
	case err != nil:
		return nil, err
	}
	set := map[string]bool{}
	for entry := range strings.SplitSeq(string(out), "\x00") {
		const state = len("XY ")
		if len(entry) > state {
			set[entry[state:]] = true
		}
	}
	return func(name string) bool { return set[name] }, nil
}

// filterGrace is how long a filter that git has started may keep its output open when git itself has ended.
const filterGrace = time.Second

// gitIn is git in a folder, whatever repository the environment names. It must not write the index, and run nothing but the filters.
func gitIn(ctx context.Context, program, root string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, append([]string{"-C", root, "--no-optional-locks", "-c", "core.fsmonitor=false"}, args...)...)
	cmd.Env = append(withoutRepository(os.Environ()), "LC_ALL=C")
	cmd.WaitDelay = filterGrace
	return cmd
}

// gitFilters are those of some files that get another content when they are committed: git-crypt encrypts them, LFS leaves a pointer.
// It is for a warning: where Git cannot be asked, there is none.
func gitFilters(ctx context.Context, root string, names []string) (filtered []string) {
	program, err := exec.LookPath("git")
	if err != nil {
		return nil
	}
	cmd := gitIn(ctx, program, root, "check-attr", "-z", "--stdin", "filter")
	cmd.Stdin = strings.NewReader(strings.Join(names, "\x00"))
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	for answer := range slices.Chunk(strings.Split(string(out), "\x00"), 3) { // the file, the attribute and its value
		if len(answer) == 3 && answer[2] != "unspecified" && answer[2] != "unset" {
			filtered = append(filtered, answer[0])
		}
	}
	return filtered
}

// withoutRepository is an environment that names no repository: in a hook of Git it names the one of the hook. What it configures
// stays, such as what a person gave to the git that runs the hook.
func withoutRepository(env []string) []string {
	ofRepository := []string{ // git rev-parse --local-env-vars, without GIT_CONFIG_PARAMETERS and GIT_CONFIG_COUNT
		"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_OBJECT_DIRECTORY", "GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE", "GIT_INDEX_FILE",
		"GIT_NO_REPLACE_OBJECTS", "GIT_REPLACE_REF_BASE", "GIT_PREFIX", "GIT_INTERNAL_SUPER_PREFIX", "GIT_SHALLOW_FILE", "GIT_COMMON_DIR",
	}
	return slices.DeleteFunc(env, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(ofRepository, name)
	})
}
