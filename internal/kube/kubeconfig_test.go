package kube

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
	changed, err := Merge(t.Context(), path, name, entry(server), use)
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
			if changed, err := Remove(t.Context(), path, "rekindle-prod"); err != nil || !changed {
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
	if _, err := Remove(t.Context(), path, "a"); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestAnEntryThatIsNotOursIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Merge(t.Context(), path, "work", entry("https://mine"), false)
	if fault.Code(err) != fault.ExitRefused {
		t.Errorf("got %v", err)
	}
	if changed, err := Remove(t.Context(), path, "work"); err != nil || changed {
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
	if _, err := Merge(t.Context(), path, "work", entry("https://mine"), false); fault.Code(err) != fault.ExitRefused {
		t.Errorf("an entry of another file of the list: %v", err)
	}
	if changed, err := Remove(t.Context(), path, "a"); err != nil || !changed {
		t.Errorf("remove: %v, %v", changed, err)
	}
}

func TestMergesAtOnceAllCount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			if _, err := Merge(t.Context(), path, name, entry("https://"+name), false); err != nil {
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
	if _, err := Merge(ctx, file, "b", entry("https://b"), false); err == nil || !strings.Contains(err.Error(), "another process holds it") {
		t.Errorf("kubectl's lock was not respected: %v", err)
	}
}
