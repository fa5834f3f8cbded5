//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestTheRunbook follows docs/recovery.md word for word, in one shell and in an empty folder, with the URL of the
// repository, the key and the password, and nothing else.
func TestTheRunbook(t *testing.T) {
	raw, err := os.ReadFile("../../docs/recovery.md")
	if err != nil {
		t.Fatal(err)
	}
	page, trouble, found := strings.Cut(string(raw), "\n## When it does not work")
	if !found {
		t.Fatal("the page has no part for when it does not work")
	}
	script := blocks(page)
	if strings.Count(script, "rekindle ") < 4 || !strings.Contains(script, "SOPS_AGE_KEY") {
		t.Fatalf("what became of the commands?\n%s", script)
	}

	const port = "8083"
	w := newShopWithState(t, "shop-recover", port)
	w.run(0, "up")
	orders := w.order(t, port)
	w.until("20 orders are placed", time.Minute, func(context.Context) (bool, string, error) {
		n := orders.last.Load()
		return n >= 20, fmt.Sprintf("%d orders", n), nil
	})
	acknowledged := orders.last.Load()
	w.run(0, "snapshot")
	orders.stop()
	w.lose()

	usb := t.TempDir()
	for name, text := range map[string]string{"age.key": w.key, "state.pass": "correct horse battery staple\n"} {
		if err := os.WriteFile(filepath.Join(usb, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	empty := t.TempDir()
	w.follow(empty, usb, script)
	if _, err := os.Stat(filepath.Join(empty, "rebuild.html")); err != nil {
		t.Error(err)
	}
	w.every(port, acknowledged)
	out, code := w.command(t.Context(), "snapshots", "clusters/prod/cluster.yaml")
	if code != 0 || strings.Count(out, "complete") < 2 {
		t.Errorf("snapshots: exit %d\n%s", code, out)
	}
	if !strings.Contains(blocks(trouble), "rekindle-gate") {
		t.Errorf("the way round the gate is gone from the page:\n%s", trouble)
	}
}

// blocks are the commands of a page.
func blocks(page string) string {
	var all strings.Builder
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(page, -1) {
		all.WriteString(block[1])
	}
	return all.String()
}

// follow runs the page's commands as its reader would, who has replaced what is another's: the URL, where the stick is,
// and the credentials of a backend that a folder does not need.
func (w *world) follow(dir, usb, script string) {
	w.t.Helper()
	document, err := os.ReadFile(w.repo.Path("clusters/prod/cluster.yaml"))
	if err != nil {
		w.t.Fatal(err)
	}
	served := regexp.MustCompile(`url: (http://\S+)`).FindSubmatch(document)
	if served == nil {
		w.t.Fatalf("no URL in\n%s", document)
	}
	script = strings.NewReplacer("https://git.example.com/acme/ops.git", string(served[1]), "/media/usb", usb).Replace(script)
	script = regexp.MustCompile(`(?m)^export AWS_.*\n`).ReplaceAllString(script, "")
	home := w.t.TempDir()
	cmd := exec.CommandContext(w.t.Context(), "sh", "-euxc", script)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + filepath.Dir(w.binary) + ":" + os.Getenv("PATH"), "HOME=" + home, "KUBECONFIG=" + w.kubeconfig}
	if cache, err := os.UserCacheDir(); err == nil {
		cmd.Env = append(cmd.Env, "XDG_CACHE_HOME="+cache) // what has been fetched once
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	w.t.Logf("%s", out)
}
