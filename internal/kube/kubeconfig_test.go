package kube

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// entry is a cluster's own kubeconfig.
func entry(server string) *clientcmdapi.Config {
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: []byte("ca")}
	c.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: []byte("cert"), ClientKeyData: []byte("key")}
	c.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	c.CurrentContext = "x"
	return c
}

const foreign = `apiVersion: v1
kind: Config
current-context: work
clusters:
- {name: work, cluster: {server: "https://work:6443"}}
users:
- {name: me, user: {token: t}}
contexts:
- {name: work, context: {cluster: work, user: me}}
`

// merge merges and fails the test on an error.
func merge(t *testing.T, path, name, server string, use bool) (changed bool) {
	t.Helper()
	changed, err := Merge(t.Context(), path, Entry{Name: name}, entry(server), use)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func read(t *testing.T, path string) *clientcmdapi.Config {
	t.Helper()
	c, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMergeAddsOneContextAndRemovePutsBack(t *testing.T) {
	for name, use := range map[string]bool{"the current context stays": false, "it is used": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(path, []byte(foreign), 0o644); err != nil {
				t.Fatal(err)
			}
			if !merge(t, path, "rekindle-prod", "https://prod", use) {
				t.Error("nothing changed")
			}
			c := read(t, path)
			if want := map[bool]string{false: "work", true: "rekindle-prod"}[use]; c.CurrentContext != want {
				t.Errorf("the current context is %q", c.CurrentContext)
			}
			if len(c.Contexts) != 2 || c.Clusters["rekindle-prod"].Server != "https://prod" || c.Clusters["work"] == nil {
				t.Errorf("entries: %v", c.Contexts)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			if merge(t, path, "rekindle-prod", "https://prod", use) {
				t.Error("a second merge changed it")
			}
			if changed, err := Remove(t.Context(), path, Entry{Name: "rekindle-prod"}); err != nil || !changed {
				t.Errorf("remove: %v, %v", changed, err)
			}
			c = read(t, path)
			if c.CurrentContext != "work" || len(c.Contexts)+len(c.Clusters)+len(c.AuthInfos) != 3 {
				t.Errorf("left: %q, %v", c.CurrentContext, c.Contexts)
			}
		})
	}
}

func TestAFileMadeForUsIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "config")
	merge(t, path, "a", "https://a", true)
	if _, err := Remove(t.Context(), path, Entry{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// TestAnEntryOfAnotherClusterStays: two clusters of one name, in two places, never stand for each other. An entry that an older
// version wrote, without its cluster, is taken over.
func TestAnEntryOfAnotherClusterStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	eu, us := Entry{Name: "gke-prod", Of: "gke/prod in eu"}, Entry{Name: "gke-prod", Of: "gke/prod in us"}
	merge(t, path, "gke-prod", "https://old", false)
	if changed, err := Merge(t.Context(), path, eu, entry("https://eu"), true); err != nil || !changed {
		t.Fatalf("merge: %v, %v", changed, err)
	}
	for range 2 {
		_, err := Merge(t.Context(), path, us, entry("https://us"), true)
		if fault.Code(err) != fault.ExitRefused || !strings.Contains(err.Error(), eu.Of) || !strings.Contains(err.Error(), us.Of) || len(fault.Hints(err)) == 0 {
			t.Errorf("merge of the other: %v", err)
		}
		if changed, err := Remove(t.Context(), path, us); err != nil || changed {
			t.Errorf("removal of the other: %v, %v", changed, err)
		}
		if c := read(t, path); c.Clusters["gke-prod"].Server != "https://eu" || c.CurrentContext != "gke-prod" {
			t.Errorf("the entry is now %+v, the current context %q", c.Clusters["gke-prod"], c.CurrentContext)
		}
	}
	if changed, err := Remove(t.Context(), path, eu); err != nil || !changed {
		t.Errorf("remove: %v, %v", changed, err)
	}
	if err := Vacant(path, us); err != nil {
		t.Errorf("the name is free again: %v", err)
	}
}

func TestAnEntryThatIsNotOursIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Merge(t.Context(), path, Entry{Name: "work"}, entry("https://mine"), false)
	if fault.Code(err) != fault.ExitRefused {
		t.Errorf("got %v", err)
	}
	if changed, err := Remove(t.Context(), path, Entry{Name: "work"}); err != nil || changed {
		t.Errorf("remove: %v, %v", changed, err)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != foreign {
		t.Errorf("the file was touched: %v\n%s", err, raw)
	}
}

func TestASymbolicLinkStaysOne(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := os.WriteFile(real, []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	merge(t, link, "a", "https://a", false)
	if target, err := os.Readlink(link); err != nil || target != real {
		t.Errorf("the link is %q, %v", target, err)
	}
	if read(t, real).Contexts["a"] == nil {
		t.Error("the file behind the link has no entry")
	}
}

// TestALinkToNothingGetsItsTarget: also that goes again, and the link stays.
func TestALinkToNothingGetsItsTarget(t *testing.T) {
	dir := t.TempDir()
	link, target := filepath.Join(dir, "link"), filepath.Join(dir, "elsewhere", "real")
	if err := os.Symlink(filepath.Join("elsewhere", "real"), link); err != nil {
		t.Fatal(err)
	}
	merge(t, link, "a", "https://a", false)
	if read(t, target).Contexts["a"] == nil {
		t.Error("the file behind the link has no entry")
	}
	if _, err := Remove(t.Context(), link, Entry{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(target); err == nil {
		t.Error("the file behind the link is left")
	}
	if to, err := os.Readlink(link); err != nil || to != filepath.Join("elsewhere", "real") {
		t.Errorf("the link is %q, %v", to, err)
	}
}

func TestALinkToItselfIsToldSo(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("link", link); err != nil {
		t.Fatal(err)
	}
	if _, err := Merge(t.Context(), link, Entry{Name: "a"}, entry("https://a"), false); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("got %v", err)
	}
}

// TestALinkIsLockedByBothNames: kubectl locks the one that it was given. A folder that is a link has its files under two
// names too, with one lock.
func TestALinkIsLockedByBothNames(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder")
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(real, []byte(foreign), 0o600), os.Symlink("real", link), os.Symlink(".", folder)); err != nil {
		t.Fatal(err)
	}
	for _, locked := range []string{real, link} {
		if err := os.WriteFile(locked+".lock", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := Merge(ctx, link, Entry{Name: "a"}, entry("https://a"), false); err == nil || !strings.Contains(err.Error(), "another process holds it") {
			t.Errorf("the lock of %s was not respected: %v", locked, err)
		}
		if err := os.Remove(locked + ".lock"); err != nil {
			t.Fatal(err)
		}
	}
	merge(t, filepath.Join(folder, "link"), "a", "https://a", false)
	if left, _ := filepath.Glob(filepath.Join(dir, "*.lock")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAListOfFilesIsHonoured(t *testing.T) {
	t.Run("of the environment", func(t *testing.T) { aList(t, true) })
	t.Run("given", func(t *testing.T) { aList(t, false) })
}

func aList(t *testing.T, environment bool) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	if err := os.WriteFile(second, []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	path := first + string(os.PathListSeparator) + second
	if environment {
		t.Setenv("KUBECONFIG", path)
		path = ""
	}
	merge(t, path, "a", "https://a", false)
	if read(t, second).Contexts["a"] == nil {
		t.Error("the first file that exists has no entry")
	}
	if _, err := Merge(t.Context(), path, Entry{Name: "work"}, entry("https://mine"), false); fault.Code(err) != fault.ExitRefused {
		t.Errorf("an entry of another file of the list: %v", err)
	}
	if changed, err := Remove(t.Context(), path, Entry{Name: "a"}); err != nil || !changed {
		t.Errorf("remove: %v, %v", changed, err)
	}
}

// current is the context that kubectl uses with a list of files.
func current(t *testing.T, files ...string) string {
	t.Helper()
	c, err := (&clientcmd.ClientConfigLoadingRules{Precedence: files}).Load()
	if err != nil {
		t.Fatal(err)
	}
	return c.CurrentContext
}

// TestTheCurrentContextOfAListIsThatOfKubectl: it may be named in another file than that which has the context.
func TestTheCurrentContextOfAListIsThatOfKubectl(t *testing.T) {
	const pointer = "apiVersion: v1\nkind: Config\ncurrent-context: work\n"
	nameless := strings.Replace(foreign, "current-context: work\n", "", 1)
	for name, c := range map[string]struct {
		first, second string
		early         bool   // our entries come into the second file, before there is a first
		gone          bool   // the context that was the current one is no more in the end
		want          string // the current context in the end
	}{
		"named in the first, defined in the second": {first: pointer, second: nameless, want: "work"},
		"named and defined in the second":           {first: "apiVersion: v1\nkind: Config\n", second: foreign, want: "work"},
		"ours in the second, named in the first":    {first: pointer, second: nameless, early: true, want: "work"},
		"there is no such context any more":         {first: pointer, second: nameless, gone: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := []string{filepath.Join(dir, "first"), filepath.Join(dir, "second")}
			path := strings.Join(files, string(os.PathListSeparator))
			place := func(file, content string) {
				if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			place(files[1], c.second)
			if c.early {
				merge(t, path, "ours", "https://ours", false)
			}
			place(files[0], c.first)
			merge(t, path, "ours", "https://ours", true)
			if got := current(t, files...); got != "ours" {
				t.Errorf("it uses %q", got)
			}
			if merge(t, path, "ours", "https://ours", true) {
				t.Error("a second merge changed it")
			}
			if c.gone {
				place(files[1], "apiVersion: v1\nkind: Config\n")
			}
			if changed, err := Remove(t.Context(), path, Entry{Name: "ours"}); err != nil || !changed {
				t.Errorf("remove: %v, %v", changed, err)
			}
			if got := current(t, files...); got != c.want {
				t.Errorf("in the end it uses %q, want %q", got, c.want)
			}
			for _, file := range files {
				if raw, err := os.ReadFile(file); err != nil || strings.Contains(string(raw), "ours") {
					t.Errorf("%s: %v\n%s", file, err, raw)
				}
			}
		})
	}
}

func TestMergesAtOnceAllCount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			if _, err := Merge(t.Context(), path, Entry{Name: name}, entry("https://"+name), false); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := len(read(t, path).Contexts); got != len(names) {
		t.Errorf("%d contexts of %d", got, len(names))
	}
}

// TestALockOfAKilledProcessIsTakenOver: kubectl's own is waited for, and ours as long as its holder lives.
func TestALockOfAKilledProcessIsTakenOver(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file+".lock", []byte("rekindle\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	merge(t, file, "a", "https://a", false)
	if _, err := os.Stat(file + ".lock"); err == nil {
		t.Error("the lock is left")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".kubeconfig-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if err := os.WriteFile(file+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := Merge(ctx, file, Entry{Name: "b"}, entry("https://b"), false); err == nil || !strings.Contains(err.Error(), "another process holds it") {
		t.Errorf("kubectl's lock was not respected: %v", err)
	}
}

func TestMergedForeseesWhatMergeDoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	for _, c := range []struct {
		server string
		use    bool
	}{{"https://a", false}, {"https://a", false}, {"https://b", false}, {"https://b", true}, {"https://b", true}, {"https://b", false}} {
		before, _ := os.ReadFile(path)
		same, err := Merged(path, Entry{Name: "kwok-x", Of: "kwok/x"}, entry(c.server), c.use)
		if err != nil {
			t.Fatal(err)
		}
		if after, _ := os.ReadFile(path); string(before) != string(after) {
			t.Error("it writes")
		}
		changed, err := Merge(t.Context(), path, Entry{Name: "kwok-x", Of: "kwok/x"}, entry(c.server), c.use)
		if err != nil || changed == same {
			t.Errorf("%+v: foreseen unchanged: %t, changed: %t, %v", c, same, changed, err)
		}
	}
}
