package gitrepo

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

// machine is the home folder of somebody who has nothing configured.
func machine(t *testing.T) (home string) {
	t.Helper()
	home = t.TempDir()
	t.Setenv("HOME", home)
	for _, name := range []string{"XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL"} { // to Git an empty one is not the same as none
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GIT_CONFIG_SYSTEM", filepath.Join(home, "system"))
	return home
}

// served lists the files that a folder is taken with.
func served(t *testing.T, dir string) string {
	t.Helper()
	f, err := OpenFolder(t.Context(), dir, config.Ref{Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(gitCommand(t, clone(t, start(t, f).URL()), "ls-files"), "\n", " ")
}

// TestWhatGitIgnoresOnThisMachineIsNotTaken: Git asks several files, of which the first that says so counts.
func TestWhatGitIgnoresOnThisMachineIsNotTaken(t *testing.T) {
	const says = "[core]\n\texcludesFile = ~/mine\n"
	for name, c := range map[string]struct {
		files map[string]string
		xdg   string
		want  string
	}{
		"nothing":                        {nil, "", "a new secret.env"},
		"the usual file":                 {map[string]string{".config/git/ignore": "# mine\n\nsecret.env\r\n"}, "", "a new"},
		"elsewhere":                      {map[string]string{"xdg/git/ignore": "secret.env\n"}, "xdg", "a new"},
		"named by .gitconfig":            {map[string]string{".gitconfig": says, "mine": "*.env\n", ".config/git/ignore": "new\n"}, "", "a new"},
		"named by the other config":      {map[string]string{".config/git/config": says, "mine": "*.env\n"}, "", "a new"},
		"named by that of the machine":   {map[string]string{"system": says, "mine": "*.env\n"}, "", "a new"},
		"named, and not there":           {map[string]string{".gitconfig": says}, "", "a new secret.env"},
		"against what the checkout says": {map[string]string{".config/git/ignore": "*.env\nnew\n"}, "", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			home := machine(t)
			write(t, home, c.files)
			if c.xdg != "" {
				t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, c.xdg))
			}
			dir, _ := newRepo(t, map[string]string{"a": "1"})
			write(t, dir, map[string]string{"secret.env": "s3cret", "new": "2"})
			if got := served(t, dir); got != c.want {
				t.Errorf("served are %s, want %s", got, c.want)
			}
			write(t, dir, map[string]string{".gitignore": "!secret.env\n"})
			if got := served(t, dir); !strings.Contains(got, "secret.env") {
				t.Errorf("the checkout wants it: served are %s", got)
			}
		})
	}
}

func TestWhatGitIgnoresHasToBeKnown(t *testing.T) {
	home := machine(t)
	dir, _ := newRepo(t, map[string]string{"a": "1"})
	write(t, home, map[string]string{".gitconfig": "[core\n"})
	_, err := OpenFolder(t.Context(), dir, config.Ref{})
	wantFault(t, err, fault.Failed, "cannot find out what Git ignores", "git config")
	t.Setenv("PATH", "")
	_, err = OpenFolder(t.Context(), dir, config.Ref{})
	wantFault(t, err, fault.Failed, "cannot find out what Git ignores", ".gitconfig", "install git")
}

// TestWhatGitSaysOfItsConfigurationCounts: it takes files that others do not, and knows what they include.
func TestWhatGitSaysOfItsConfigurationCounts(t *testing.T) {
	home := machine(t)
	write(t, home, map[string]string{
		".gitconfig": "\xef\xbb\xbf[alias] st = status\n[include]\n\tpath = more\n", "more": "[core]\n\texcludesFile = ~/mine\n", "mine": "*.env\n",
	})
	dir, _ := newRepo(t, map[string]string{"a": "1"})
	write(t, dir, map[string]string{"secret.env": "s3cret"})
	if got := served(t, dir); got != "a" {
		t.Errorf("served are %s", got)
	}
}

// TestAHookOfAnotherRepositoryIsNotAsked: Git names its repository to a hook by the environment.
func TestAHookOfAnotherRepositoryIsNotAsked(t *testing.T) {
	home := machine(t)
	write(t, home, map[string]string{"mine": "*.env\n", "other": "new\n"})
	dir, _ := newRepo(t, map[string]string{"a": "1"})
	gitCommand(t, dir, "config", "core.excludesFile", "~/mine")
	write(t, dir, map[string]string{"secret.env": "s3cret", "new": "2"})
	other, _ := newRepo(t, map[string]string{"b": "1"})
	gitCommand(t, other, "config", "core.excludesFile", "~/other")
	t.Setenv("GIT_DIR", filepath.Join(other, ".git"))
	t.Setenv("GIT_CONFIG", filepath.Join(other, ".git", "config"))
	f, err := OpenFolder(t.Context(), dir, config.Ref{Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := f.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"new": true, "secret.env": false} {
		if _, err := fs.Stat(tree.FS(), name); (err == nil) != want {
			t.Errorf("%s is taken: %t", name, err == nil)
		}
	}
}

// TestWhatGitIgnoresIsKnownWithoutGit reads its configuration itself.
func TestWhatGitIgnoresIsKnownWithoutGit(t *testing.T) {
	home := machine(t)
	write(t, home, map[string]string{".gitconfig": "[core]\n\texcludesFile = ~/mine\n", "mine": "*.env\n"})
	dir, _ := newRepo(t, map[string]string{"a": "1"})
	t.Setenv("PATH", "")
	patterns, err := machinePatterns(t.Context(), dir)
	if err != nil || len(patterns) != 1 {
		t.Errorf("%d patterns, %v", len(patterns), err)
	}
}

// TestAPartOfACheckoutIsTakenAsGitWould: it is no repository, and what is ignored is ignored there, too.
func TestAPartOfACheckoutIsTakenAsGitWould(t *testing.T) {
	home := machine(t)
	write(t, home, map[string]string{".config/git/ignore": "*.mine\n"})
	dir, _ := newRepo(t, map[string]string{".gitignore": "secret.env\n/ops/out/\n", "ops/a": "1"})
	write(t, dir, map[string]string{"ops/out/kept": "1"})
	gitCommand(t, dir, "add", "--force", "ops/out/kept")
	write(t, dir, map[string]string{"ops/secret.env": "s", "ops/sub/secret.env": "s", "ops/out/x": "s", "ops/x.mine": "s", "ops/new": "1", "ops/sub/.gitignore": "y\n", "ops/sub/y": "s"})
	if got := served(t, filepath.Join(dir, "ops")); got != "a new out/kept sub/.gitignore" {
		t.Errorf("served are %s", got)
	}
	_, err := OpenFolder(t.Context(), filepath.Join(dir, "ops", "out"), config.Ref{})
	if err != nil {
		t.Errorf("one of its files is in the index: %v", err)
	}
	write(t, dir, map[string]string{"ops/out/more/x": "s"})
	_, err = OpenFolder(t.Context(), filepath.Join(dir, "ops", "out", "more"), config.Ref{})
	wantFault(t, err, fault.Usage, "Git ignores all of its files", "check-ignore")
}

// TestAFolderThatIsNoRepositoryIsTakenAsIfItWereOne: what its .gitignore names is not served, and no repository below it.
func TestAFolderThatIsNoRepositoryIsTakenAsIfItWereOne(t *testing.T) {
	home := machine(t)
	write(t, home, map[string]string{".config/git/ignore": "*.mine\n"})
	dir := t.TempDir()
	write(t, dir, map[string]string{
		".gitignore": "secret.env\n/out/\n", "a": "1", "secret.env": "s", "sub/secret.env": "s", "out/x": "s", "x.mine": "s",
		"sub/.gitignore": "y\n", "sub/y": "s", "nested/b": "1", "nested/.git/config": "[remote \"origin\"]\n\turl = https://me:s3cret@example.com\n", "tree/.git": "gitdir: /elsewhere\n",
	})
	if got := served(t, dir); got != ".gitignore a nested/b sub/.gitignore" {
		t.Errorf("served are %s", got)
	}
	write(t, dir, map[string]string{"all/.gitignore": "*\n", "all/x": "s"})
	_, err := OpenFolder(t.Context(), filepath.Join(dir, "all"), config.Ref{})
	wantFault(t, err, fault.Usage, "Git ignores all of its files", "check-ignore")
}

// TestAFileThatBecameAFolderAndTheReverse are taken as they are now.
func TestAFileThatBecameAFolderAndTheReverse(t *testing.T) {
	machine(t)
	dir, _ := newRepo(t, map[string]string{"file": "1", "folder/a": "1", "folder/b/c": "1", "linked/a": "1", "there/a": "1"})
	for _, name := range []string{"file", "folder", "linked"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, map[string]string{"file/a": "2", "file/b/c": "2", "folder": "2"})
	if err := os.Symlink("there", filepath.Join(dir, "linked")); err != nil {
		t.Fatal(err)
	}
	if got := served(t, dir); got != "file/a file/b/c folder linked there/a" {
		t.Errorf("served are %s", got)
	}
}
