package gitrepo

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
)

func follow(t *testing.T, dir string) *Server {
	t.Helper()
	f, err := FollowFolder(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, f)
}

func start(t *testing.T, f *Folder) *Server {
	t.Helper()
	s, err := Serve(t.Context(), f, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func clone(t *testing.T, url string, args ...string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "clone")
	gitCommand(t, t.TempDir(), append(append([]string{"clone", "-q"}, args...), url, to)...)
	gitCommand(t, to, "fsck", "--strict")
	return to
}

func history(t *testing.T) (dir string, commits []string) {
	dir, first := newRepo(t, map[string]string{"a": "1", "sub/b": "1"})
	commits = []string{first}
	gitCommand(t, dir, "tag", "-a", "-m", "v1", "v1")
	gitCommand(t, dir, "checkout", "-q", "-b", "side")
	commits = append(commits, commit(t, dir, map[string]string{"side": "1"}))
	gitCommand(t, dir, "checkout", "-q", "main")
	commits = append(commits, commit(t, dir, map[string]string{"a": "2"}))
	gitCommand(t, dir, "merge", "-q", "--no-ff", "-m", "merge", "side")
	return dir, append(commits, gitCommand(t, dir, "rev-parse", "HEAD"))
}

func TestRealGitClones(t *testing.T) {
	dir, commits := history(t)
	url := follow(t, dir).URL()
	head := commits[len(commits)-1]
	for name, c := range map[string]struct {
		args    []string
		commits string
	}{
		"whole":       {nil, "4"},
		"depth 1":     {[]string{"--depth", "1"}, "1"},
		"depth 2":     {[]string{"--depth", "2"}, "3"},
		"deep enough": {[]string{"--depth", "50"}, "4"},
		"protocol 0":  {[]string{"-c", "protocol.version=0"}, "4"},
	} {
		t.Run(name, func(t *testing.T) {
			to := clone(t, url, c.args...)
			if got := gitCommand(t, to, "rev-parse", "HEAD"); got != head {
				t.Errorf("HEAD is %s, want %s", got, head)
			}
			if got := gitCommand(t, to, "rev-list", "--count", "HEAD"); got != c.commits {
				t.Errorf("%s commits, want %s", got, c.commits)
			}
			if got := gitCommand(t, to, "symbolic-ref", "HEAD"); got != "refs/heads/main" {
				t.Errorf("HEAD is on %s", got)
			}
		})
	}
	to := clone(t, url, "--branch", "v1")
	if got := gitCommand(t, to, "rev-parse", "HEAD"); got != commits[0] {
		t.Errorf("the tag is %s, want %s", got, commits[0])
	}
}

func TestRealGitFetchesWhatIsNew(t *testing.T) {
	dir, _ := history(t)
	url := follow(t, dir).URL()
	whole, flat := clone(t, url), clone(t, url, "--depth", "1")
	var head string
	for _, content := range []string{"3", "4", "5"} {
		head = commit(t, dir, map[string]string{"a": content})
	}
	for name, args := range map[string][]string{
		whole: {"pull", "-q", "--ff-only"}, flat: {"fetch", "-q", "--unshallow"},
	} {
		gitCommand(t, name, args...)
		gitCommand(t, name, "fsck", "--strict")
		if got := gitCommand(t, name, "rev-parse", "origin/main"); got != head {
			t.Errorf("%v: at %s, want %s", args, got, head)
		}
		if got := gitCommand(t, name, "rev-list", "--count", "origin/main"); got != "7" {
			t.Errorf("%v: %s commits, want 7", args, got)
		}
	}
	flat = clone(t, url, "--depth", "1")
	commit(t, dir, map[string]string{"a": "6"})
	gitCommand(t, flat, "pull", "-q", "--ff-only")
	gitCommand(t, flat, "fetch", "-q", "--depth", "3")
	gitCommand(t, flat, "fsck", "--strict")
	if got := gitCommand(t, flat, "rev-list", "--count", "origin/main"); got != "3" {
		t.Errorf("deepened to %s commits, want 3", got)
	}
}

// TestTagsOfAnythingAreServed: a tag may stand for another tag, for a file and for a folder, and so may a name without one.
func TestTagsOfAnythingAreServed(t *testing.T) {
	dir, commits := history(t)
	gitCommand(t, dir, "tag", "-a", "-m", "again", "of-tag", "v1")
	gitCommand(t, dir, "tag", "-a", "-m", "a file", "of-file", "HEAD:a")
	gitCommand(t, dir, "tag", "-a", "-m", "a folder", "of-folder", "HEAD:sub")
	gitCommand(t, dir, "tag", "-a", "-m", "of a tag of a file", "of-file-tag", "of-file")
	write(t, dir, map[string]string{"loose/x": "in no commit", "loose/deep/y": "neither"})
	gitCommand(t, dir, "add", "loose")
	gitCommand(t, dir, "tag", "folder", gitCommand(t, dir, "write-tree", "--prefix=loose/"))
	gitCommand(t, dir, "tag", "file", gitCommand(t, dir, "rev-parse", ":loose/x"))
	gitCommand(t, dir, "reset", "-q", "--hard")
	url := follow(t, dir).URL()
	deep, flat := clone(t, url), clone(t, url, "--depth", "1")
	gitCommand(t, flat, "fetch", "-q", "--depth", "1", "origin", "refs/tags/*:refs/tags/*")
	for _, to := range []string{deep, flat} {
		gitCommand(t, to, "fsck", "--strict")
		for _, tag := range []string{"v1", "of-tag", "of-file", "of-folder", "of-file-tag", "folder", "file"} {
			if got, want := gitCommand(t, to, "rev-parse", tag, tag+"^{}"), gitCommand(t, dir, "rev-parse", tag, tag+"^{}"); got != want {
				t.Errorf("%s is %s, want %s", tag, got, want)
			}
		}
		if got := gitCommand(t, to, "show", "folder:deep/y"); got != "neither" {
			t.Errorf("a file of a folder is %q", got)
		}
	}
	gitCommand(t, flat, "fetch", "-q", "origin", commits[1]) // which no name stands for, only the history of one
}

// TestGoGitClones is what Flux's source-controller does.
func TestGoGitClones(t *testing.T) {
	dir, commits := history(t)
	url := follow(t, dir).URL()
	repo, err := git.CloneContext(t.Context(), memory.NewStorage(), nil, &git.CloneOptions{
		URL: url, ReferenceName: plumbing.NewBranchReferenceName("main"), SingleBranch: true, NoCheckout: true, Depth: 1, Tags: git.NoTags,
	})
	if err != nil {
		t.Fatal(err)
	}
	head, err := repo.Head()
	if err != nil || head.Hash().String() != commits[len(commits)-1] {
		t.Errorf("HEAD is %v, %v", head, err)
	}
	iter, err := repo.CommitObjects()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for {
		if _, err := iter.Next(); err != nil {
			break
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d commits came, want 1", n)
	}
	if _, err := NewCache(t.TempDir()).Open(t.Context(), Remote{URL: url, Ref: config.Ref{Commit: commits[0]}}, nil); err != nil {
		t.Errorf("a commit below a branch: %v", err)
	}
}

func TestAShallowCheckoutIsServed(t *testing.T) {
	dir, commits := history(t)
	ci := clone(t, follow(t, dir).URL(), "--depth", "1")
	url := follow(t, ci).URL()
	for _, args := range [][]string{{"--depth", "1"}, nil} {
		to := clone(t, url, args...)
		if got := gitCommand(t, to, "rev-parse", "HEAD"); got != commits[len(commits)-1] {
			t.Errorf("clone %v is at %s", args, got)
		}
	}
}

func TestOnlyReadingIsServed(t *testing.T) {
	dir, _ := history(t)
	s := follow(t, dir)
	to := clone(t, s.URL())
	commit(t, to, map[string]string{"a": "mine"})
	if out, err := tryGit(t, to, "push", "-q", "origin", "main"); err == nil {
		t.Errorf("a push went through: %s", out)
	}
	base := s.URL()
	hidden := strings.Replace(base, s.secret, strings.Repeat("0", len(s.secret)), 1)
	for url, want := range map[string]int{
		base + "/info/refs?service=git-upload-pack":   http.StatusOK,
		base + "/info/refs?service=git-receive-pack":  http.StatusForbidden,
		base + "/info/refs":                           http.StatusForbidden,
		base + "/HEAD":                                http.StatusForbidden,
		base + "/../../config":                        http.StatusForbidden,
		hidden + "/info/refs?service=git-upload-pack": http.StatusNotFound,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", url, resp.StatusCode, want)
		}
	}
}

// TestWhatNoRefLeadsToIsNotServed: a commit that was taken back is still in the repository.
func TestWhatNoRefLeadsToIsNotServed(t *testing.T) {
	dir, _ := history(t)
	secret := commit(t, dir, map[string]string{"password": "s3cret"})
	gitCommand(t, dir, "reset", "-q", "--hard", "HEAD~1")
	to := clone(t, follow(t, dir).URL())
	out, err := tryGit(t, to, "fetch", "origin", secret)
	if err == nil || !strings.Contains(out, "not our ref") {
		t.Errorf("got %v: %s", err, out)
	}
}

// content is a digest over every file below a folder.
func content(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(p)
		_, _ = h.Write([]byte(p + "\x00" + string(raw) + "\x00"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func TestUncommittedFilesBecomeACommitThatIsNowhere(t *testing.T) {
	dir, commits := history(t)
	write(t, dir, map[string]string{".gitignore": "*.tmp\n"})
	head := commit(t, dir, nil)
	clean, err := OpenFolder(t.Context(), dir, config.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	if tree, err := clean.Tree(t.Context()); err != nil || tree.Commit != head || len(clean.Warnings) != 0 {
		t.Errorf("a clean checkout is %v, %v, warnings %v; want %s", tree, err, clean.Warnings, head)
	}
	write(t, dir, map[string]string{"a": "changed", "new/file": "new", "junk.tmp": "junk"})
	if err := os.Remove(filepath.Join(dir, "side")); err != nil {
		t.Fatal(err)
	}
	before := content(t, dir)
	f, err := OpenFolder(t.Context(), dir, config.Ref{Branch: "release"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenFolder(t.Context(), dir, config.Ref{Branch: "release"})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := f.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if other, err := again.Tree(t.Context()); err != nil || other.Commit != tree.Commit {
		t.Errorf("the same files made %s and %s, %v", tree.Commit, other.Commit, err)
	}
	if len(f.Warnings) != 1 || !strings.Contains(f.Warnings[0], "3 changed files") {
		t.Errorf("warnings %q", f.Warnings)
	}
	write(t, dir, map[string]string{"a": "changed once more"})
	for _, args := range [][]string{{"--depth", "1"}, nil} {
		to := clone(t, start(t, f).URL(), append(args, "--branch", "release")...)
		if got := gitCommand(t, to, "rev-parse", "HEAD"); got != tree.Commit {
			t.Errorf("served %s, want %s", got, tree.Commit)
		}
		if got := gitCommand(t, to, "ls-files"); got != ".gitignore\na\nnew/file\nsub/b" {
			t.Errorf("files %q", got)
		}
		if raw, err := os.ReadFile(filepath.Join(to, "a")); err != nil || string(raw) != "changed" {
			t.Errorf("a is %q, %v", raw, err)
		}
		if args == nil && gitCommand(t, to, "rev-parse", "HEAD^") != head {
			t.Error("the commit does not follow the last real one")
		}
	}
	write(t, dir, map[string]string{"a": "changed"})
	if content(t, dir) != before {
		t.Error("the folder was written to")
	}
	_, err = OpenFolder(t.Context(), dir, config.Ref{Commit: commits[0]})
	wantFault(t, err, fault.Usage, "the document follows commit "+commits[0], "check out")
}

// TestWhatOnlyGitKnowsIsNoChange: the content of a file on disk is another one than that of its commit, and nobody changed it.
func TestWhatOnlyGitKnowsIsNoChange(t *testing.T) {
	machine(t)
	dir, _ := newRepo(t, map[string]string{"a": "1", "run": "#!/bin/sh\n"})
	gitCommand(t, dir, "config", "filter.upper.clean", "tr a-z A-Z")
	gitCommand(t, dir, "config", "filter.upper.smudge", "tr A-Z a-z")
	head := commit(t, dir, map[string]string{".gitattributes": "*.key filter=upper\n*.crlf text eol=crlf\n", "s.key": "secret", "x.crlf": "a: 1\n"})
	for _, name := range []string{"s.key", "x.crlf"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	gitCommand(t, dir, "checkout", "-q", ".")
	gitCommand(t, dir, "config", "core.fileMode", "false")
	if err := os.Chmod(filepath.Join(dir, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_DIR", t.TempDir()) // as in a hook of another repository
	before := content(t, dir)
	f, err := OpenFolder(t.Context(), dir, config.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := f.Tree(t.Context())
	if err != nil || tree.Commit != head || len(f.Warnings) != 0 {
		t.Errorf("an unchanged checkout is %v, %v, warnings %q; want %s", tree, err, f.Warnings, head)
	}
	if content(t, dir) != before {
		t.Error("the folder was written to")
	}
	write(t, dir, map[string]string{"s.key": "another", "a": "2"})
	if f, err = OpenFolder(t.Context(), dir, config.Ref{}); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(f.Warnings, "\n"); !strings.Contains(all, "2 changed files") || !strings.HasPrefix(all, "taken as on disk") || !strings.Contains(all, "commit it: s.key\n") {
		t.Errorf("warnings %q", f.Warnings)
	}
}

// TestUnusualCheckouts are read, or the fault says what to give instead.
func TestUnusualCheckouts(t *testing.T) {
	machine(t)
	dir, head := newRepo(t, map[string]string{"a/x": "1", "b/y": "1"})
	shared := filepath.Join(t.TempDir(), "shared")
	gitCommand(t, dir, "clone", "-q", "--shared", dir, shared)
	worktree := filepath.Join(t.TempDir(), "worktree")
	gitCommand(t, shared, "worktree", "add", "-q", "--detach", worktree)
	for _, dir := range []string{shared, worktree} {
		f, err := OpenFolder(t.Context(), dir, config.Ref{})
		if err != nil {
			t.Fatal(err)
		}
		if got := gitCommand(t, clone(t, start(t, f).URL()), "rev-parse", "HEAD"); got != head {
			t.Errorf("%s: served %s, want %s", filepath.Base(dir), got, head)
		}
	}
	gitCommand(t, shared, "sparse-checkout", "set", "a")
	_, err := OpenFolder(t.Context(), shared, config.Ref{})
	wantFault(t, err, fault.Failed, "the repository cannot be read", "worktreeconfig", "git clone --no-local "+shared)
	gitCommand(t, dir, "update-index", "--split-index")
	_, err = OpenFolder(t.Context(), dir, config.Ref{})
	wantFault(t, err, fault.Failed, "the repository cannot be read", "git clone --no-local")
	sha256 := t.TempDir()
	gitCommand(t, sha256, "init", "-q", "--object-format=sha256")
	_, err = OpenFolder(t.Context(), sha256, config.Ref{})
	wantFault(t, err, fault.Failed, "the repository cannot be read", "SHA-256 objects")
}

func TestAFolderWithoutARepository(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "1", "sub/b": "2", "sub-c": "3"})
	pinned, err := OpenFolder(t.Context(), dir, config.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	live, still := follow(t, dir).URL(), start(t, pinned).URL()
	first := gitCommand(t, clone(t, live, "--depth", "1"), "rev-parse", "HEAD")
	write(t, dir, map[string]string{"a": "2"})
	second := gitCommand(t, clone(t, live), "rev-parse", "HEAD")
	if first == second {
		t.Error("a change is not seen")
	}
	if got := gitCommand(t, clone(t, still), "rev-parse", "HEAD"); got != first {
		t.Errorf("the pinned commit is %s, want %s", got, first)
	}
}

func TestTheServerEnds(t *testing.T) {
	dir, _ := newRepo(t, map[string]string{"a": "1"})
	f, err := FollowFolder(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Serve(t.Context(), f, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.ListenOn(t.Context(), "127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Resolve(t.Context(), Remote{URL: second}); err != nil {
		t.Errorf("on its second address: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{s.URL(), second} {
		_, err := Resolve(t.Context(), Remote{URL: url})
		wantFault(t, err, fault.Failed, "cannot be reached")
	}
	_, err = Serve(t.Context(), f, "192.0.2.1:0")
	wantFault(t, err, fault.Failed, "listen on 192.0.2.1:0")
	_, err = FollowFolder(t.Context(), filepath.Join(dir, "none"))
	wantFault(t, err, fault.Usage, "cannot be opened")
}
