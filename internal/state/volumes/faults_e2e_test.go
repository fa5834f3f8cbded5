//go:build e2e

package volumes_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/test/badline"
	"github.com/rekindle-dev/rekindle/test/lab/labtest"
)

const mib = 1 << 20

// TestWhatGoesWrongWithVolumes does to movers what happens to them. Its parts share the cluster, each with a volume of its
// own, and only the last one disturbs the others.
func TestWhatGoesWrongWithVolumes(t *testing.T) {
	n := newNode(t)
	t.Run("side by side", func(t *testing.T) {
		together := &node{T: t, client: n.client, repository: n.repository, mover: n.mover}
		for name, do := range map[string]func(*node){
			"the credentials are revoked in the midst of a volume":  (*node).revoked,
			"the line is cut in the midst of a volume":              (*node).cutLine,
			"a volume is too small, or has no room for more files":  (*node).tooSmall,
			"the repository's disk is full":                         (*node).fullRepository,
			"files go while they are read":                          (*node).filesGo,
			"a file of the volume has changed and does not look so": (*node).changedUnseen,
		} {
			together.part(name, func(n *node) {
				n.Parallel()
				do(n)
			})
		}
	})
	n.leaves()
	n.part("the node starts anew in the midst of a restore", (*node).restarted)
}

// big makes a claim with 64 MiB that a pod uses.
func (n *node) big(name string) {
	n.Helper()
	n.used(name, "")
	for i := range 64 {
		raw := make([]byte, mib)
		_, err := rand.Read(raw)
		if err := errors.Join(err, os.WriteFile(filepath.Join(n.folder(name), fmt.Sprint(i)), raw, 0o600)); err != nil {
			n.Fatal(err)
		}
	}
}

// lined gives a mover that reaches the repository by a line.
func (n *node) lined() (*volumes.Mover, *badline.Line) {
	n.Helper()
	server := strings.TrimPrefix(n.mover.Access.URL, "rest:")
	line := badline.New(n.T, server, labtest.Require(n.T).Gateway+":0")
	m := &volumes.Mover{
		Client: n.mover.Client, Access: through(n.mover.Access, line), Image: n.mover.Image, Set: n.mover.Set, Cluster: n.mover.Cluster,
		Changed: n.mover.Changed, Parents: n.mover.Parents,
	}
	return m, line
}

// through is the same repository by way of a line.
func through(a state.Access, line *badline.Line) state.Access {
	url := "rest:" + line.Through(strings.TrimPrefix(a.URL, "rest:"))
	env := map[string]string{}
	for name, value := range a.Env {
		env[name] = value
	}
	env["RESTIC_REPOSITORY"] = url
	return state.Access{URL: url, Env: env}
}

// cutLine cuts the line at 60 %, there and back, for longer than a file takes: what has passed does not pass again.
func (n *node) cutLine() {
	n.big("to-cut")
	m, line := n.lined()
	want := describe(n.T, n.folder("to-cut"))
	var claim state.Claim
	for i, way := range []func() error{
		func() error {
			claims, err := m.Backup(n.Context(), []volumes.Volume{n.find("to-cut")}, n.progress)
			if len(claims) == 1 {
				claim = claims[0]
			}
			return err
		},
		func() error {
			n.claim("cut")
			return m.Restore(n.Context(), claim, namespace, "cut", nil, n.progress)
		},
	} {
		before := line.Passed()
		line.CutAfter(64*mib*6/10, 5*time.Second)
		if err := way(); err != nil {
			n.Fatalf("way %d: %v", i, err)
		}
		if passed := (line.Passed() - before) / mib; passed < 64 || passed >= 2*64 { // what was under way, in parallel
			n.Errorf("way %d: %d MiB passed for 64", i, passed)
		}
	}
	equal(n.T, want, describe(n.T, n.folder("cut")))
}

// revoked has the repository refuse what is written in the midst of a volume: that is told soon, each time.
func (n *node) revoked() {
	n.big("to-revoke")
	m, line := n.lined()
	for range 3 {
		line.RefuseAfter(20*mib, http.StatusForbidden)
		began := time.Now()
		claims, err := m.Backup(n.Context(), []volumes.Volume{n.find("to-revoke")}, n.progress)
		if text := fault.Text(err); len(claims) > 0 || !strings.Contains(text, "403") || time.Since(began) > 90*time.Second {
			n.Errorf("took %d claims, after %s: %s", len(claims), time.Since(began), text)
		}
		line.Accept()
	}
}

// restarted stops the node, with its API server, while a restore hangs on a line that was cut.
func (n *node) restarted() {
	n.big("to-restart")
	m, line := n.lined()
	want := describe(n.T, n.folder("to-restart"))
	claim := n.backup("to-restart")
	n.claim("restarted")
	var restore sync.WaitGroup
	var failed error
	line.CutAfter(32*mib, 10*time.Minute)
	began := line.Passed()
	restore.Go(func() { failed = m.Restore(n.Context(), claim, namespace, "restarted", nil, n.progress) })
	n.until("half of it came", func(context.Context) (bool, string, error) {
		return line.Passed()-began >= 32*mib, fmt.Sprint(line.Passed()), nil
	})
	n.docker("restart", clusterName+"-control-plane")
	line.Accept()
	restore.Wait()
	if failed != nil {
		n.Fatal(failed)
	}
	n.root = n.nodeRoot()
	equal(n.T, want, describe(n.T, n.folder("restarted")))
	n.leaves()
}

// tooSmall restores into volumes that are smaller than they claim to be, as disks of the class local-path are.
func (n *node) tooSmall() {
	n.big("too-big")
	claim := n.backup("too-big")
	for name, size := range map[string]string{"small": "size=8m", "few-inodes": "size=256m,nr_inodes=20"} {
		n.used(name, "") // binds it
		if err := n.client.Typed().CoreV1().Pods(namespace).Delete(n.Context(), name, metav1.DeleteOptions{}); err != nil {
			n.Fatal(err)
		}
		dir := strings.TrimPrefix(n.folder(name), n.root)
		n.docker("exec", clusterName+"-control-plane", "mount", "-t", "tmpfs", "-o", size, "tmpfs", dir)
		err := n.mover.Restore(n.Context(), claim, namespace, name, nil, n.progress)
		if text := fault.Text(err); err == nil || !strings.Contains(text, "no space left on device") || !strings.Contains(text, namespace+"/"+name) {
			n.Errorf("%s: %s", name, text)
		}
		n.docker("exec", clusterName+"-control-plane", "umount", "--lazy", dir)
		if err := n.mover.Restore(n.Context(), claim, namespace, name, nil, n.progress); err != nil { // with room again
			n.Errorf("%s, with room: %v", name, err)
		}
		equal(n.T, describe(n.T, n.folder("too-big")), describe(n.T, n.folder(name)))
	}
}

// fullRepository has a repository on a disk with too little room: no snapshot, and none is lost.
func (n *node) fullRepository() {
	n.big("too-much")
	dir := n.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		n.Fatal(err)
	}
	n.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			n.Error(err)
		}
	})
	full := &node{T: n.T, client: n.client, root: n.root}
	full.openRepository(labtest.Require(n.T).Gateway, filepath.Join(dir, "state"))
	n.used("little", "")
	if err := os.WriteFile(filepath.Join(n.folder("little"), "file"), []byte("content"), 0o600); err != nil {
		n.Fatal(err)
	}
	little := full.backup("little")
	_, err := full.mover.Backup(n.Context(), []volumes.Volume{n.find("too-much")}, n.progress)
	if text := fault.Text(err); err == nil || !strings.Contains(text, "507") && !strings.Contains(text, "Insufficient") {
		n.Errorf("got %s", text)
	}
	n.claim("little-again")
	if err := full.mover.Restore(n.Context(), little, namespace, "little-again", nil, n.progress); err != nil {
		n.Error(err)
	}
}

// filesGo takes a snapshot while an application makes and removes files all the time: that is no error.
func (n *node) filesGo() {
	n.used("busy", "")
	dir := n.folder("busy")
	if err := os.WriteFile(filepath.Join(dir, "stays"), []byte("content"), 0o600); err != nil {
		n.Fatal(err)
	}
	ctx, cancel := context.WithCancel(n.Context())
	var busy sync.WaitGroup
	busy.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			name := filepath.Join(dir, fmt.Sprintf("temporary-%d", i))
			_ = os.WriteFile(name, []byte("for a moment"), 0o600)
			_ = os.Remove(filepath.Join(dir, fmt.Sprintf("temporary-%d", i-500)))
		}
	})
	claim := n.backup("busy")
	cancel()
	busy.Wait()
	n.claim("quiet-again")
	if err := n.mover.Restore(n.Context(), claim, namespace, "quiet-again", nil, n.progress); err != nil {
		n.Fatal(err)
	}
	if raw, err := os.ReadFile(filepath.Join(n.folder("quiet-again"), "stays")); err != nil || string(raw) != "content" {
		n.Errorf("%q, %v", raw, err)
	}
}

// changedUnseen changes a byte on the disk and puts the time back: a restore reads everything, and mends it.
func (n *node) changedUnseen() {
	n.big("to-rot")
	claim := n.backup("to-rot")
	n.claim("rotten")
	if err := n.mover.Restore(n.Context(), claim, namespace, "rotten", nil, n.progress); err != nil {
		n.Fatal(err)
	}
	file := filepath.Join(n.folder("rotten"), "7")
	info, err := os.Stat(file)
	if err != nil {
		n.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		n.Fatal(err)
	}
	raw[mib/2] ^= 1
	if err := errors.Join(os.WriteFile(file, raw, 0o600), os.Chtimes(file, info.ModTime(), info.ModTime())); err != nil {
		n.Fatal(err)
	}
	if err := n.mover.Restore(n.Context(), claim, namespace, "rotten", nil, n.progress); err != nil {
		n.Fatal(err)
	}
	equal(n.T, describe(n.T, n.folder("to-rot")), describe(n.T, n.folder("rotten")))
}
