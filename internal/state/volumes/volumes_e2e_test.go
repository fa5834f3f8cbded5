//go:build e2e

package volumes_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// TestOnARealNode moves data between claims of a real node. Its parts share the cluster and follow each other.
func TestOnARealNode(t *testing.T) {
	n := newNode(t)
	n.part("every truth of a file system comes back", (*node).truthsComeBack)
	n.part("what is restored over goes", (*node).restoresOver)
	n.part("movers that are killed are begun again", (*node).killed)
	n.part("a cancelled run leaves nothing, and what a killed one left goes", (*node).leftovers)
	n.part("a restore of less is an error", (*node).shortRestore)
	n.part("hooks run around the copy", (*node).hooks)
	n.part("hooks that fail", (*node).failingHooks)
}

func (n *node) part(name string, do func(*node)) {
	n.Run(name, func(t *testing.T) {
		do(&node{T: t, client: n.client, root: n.nodeRoot(), repository: n.repository, mover: n.mover})
	})
}

func (n *node) truthsComeBack() {
	n.used("truths", "")
	truths(n.T, n.folder("truths"))
	want := describe(n.T, n.folder("truths"))
	start := time.Now()
	claim := n.backup("truths")
	n.Logf("taken in %s: %d files, %d bytes", time.Since(start).Round(time.Millisecond), claim.Files, claim.Bytes)
	if claim.Files < 10_000 || claim.Size != "1Gi" || claim.VolumeMode != "Filesystem" {
		n.Errorf("the claim is told as %+v", claim)
	}
	start = time.Now()
	n.claim("copy")
	if err := n.mover.Restore(n.Context(), claim, namespace, "copy", nil, n.progress); err != nil {
		n.Fatal(err)
	}
	n.Logf("restored in %s", time.Since(start).Round(time.Millisecond))
	n.Logf("%d files compared", equal(n.T, want, describe(n.T, n.folder("copy"))))
	n.Log("and the claim itself is as it was")
	equal(n.T, want, describe(n.T, n.folder("truths")))
	n.leaves()
}

// restoresOver uses the claim of the part before, which nobody has mounted.
func (n *node) restoresOver() {
	want := describe(n.T, n.folder("truths"))
	claim := n.backup("truths")
	dir := n.folder("copy")
	for _, do := range []error{
		os.WriteFile(filepath.Join(dir, "stranger"), []byte("of another origin"), 0o644),
		os.WriteFile(filepath.Join(dir, "many", "00", "file-00"), []byte("changed"), 0o644),
		os.Remove(filepath.Join(dir, "two")),
		os.RemoveAll(filepath.Join(dir, "many", "17")),
	} {
		if do != nil {
			n.Fatal(do)
		}
	}
	if err := n.mover.Restore(n.Context(), claim, namespace, "copy", nil, n.progress); err != nil {
		n.Fatal(err)
	}
	equal(n.T, want, describe(n.T, dir))
}

// killed kills one mover after the other, some while they start and some while they work.
func (n *node) killed() {
	want := describe(n.T, n.folder("truths"))
	var killer sync.WaitGroup
	ctx, cancel := context.WithCancel(n.Context())
	killer.Go(func() { n.kill(ctx, 2) })
	claim := n.backup("truths")
	cancel()
	killer.Wait()
	ctx, cancel = context.WithCancel(n.Context())
	n.claim("killed")
	killer.Go(func() { n.kill(ctx, 2) })
	err := n.mover.Restore(n.Context(), claim, namespace, "killed", nil, n.progress)
	cancel()
	killer.Wait()
	if err != nil {
		n.Fatal(err)
	}
	equal(n.T, withoutHoles(want), withoutHoles(describe(n.T, n.folder("killed"))))
	if !strings.Contains(n.noted(), "started again") {
		n.Error("no mover was killed: this shows nothing")
	}
	n.leaves()
}

// withoutHoles leaves open whether files have holes: into one that a killed restic has begun, the next one writes zeros, as it does
// not know what is there.
func withoutHoles(tree map[string]string) map[string]string {
	open := map[string]string{}
	for name, line := range tree {
		open[name] = strings.NewReplacer(" holes true", "", " holes false", "").Replace(line)
	}
	return open
}

// kill kills so many movers, each a moment after it began to run.
func (n *node) kill(ctx context.Context, most int) {
	seen := map[string]bool{}
	for len(seen) < most {
		pods, err := n.client.Typed().CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "rekindle.dev/mover=true"})
		if err != nil {
			return
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			if seen[pod.Name] || pod.Status.Phase != "Running" {
				continue
			}
			seen[pod.Name] = true
			if wait.Sleep(ctx, rand.N(600*time.Millisecond)) != nil {
				return
			}
			now := int64(0)
			if err := n.client.Typed().CoreV1().Pods(namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil && ctx.Err() == nil {
				n.Logf("kill %s: %v", pod.Name, err)
			}
		}
		if wait.Sleep(ctx, 20*time.Millisecond) != nil {
			return
		}
	}
}

func (n *node) leftovers() {
	n.used("few", "")
	for i := range 100 {
		if err := os.WriteFile(filepath.Join(n.folder("few"), fmt.Sprint(i)), fmt.Append(nil, i), 0o600); err != nil {
			n.Fatal(err)
		}
	}
	claim := n.backup("few")
	ctx, cancel := context.WithCancel(n.Context())
	n.claim("cancelled")
	err := n.mover.Restore(ctx, claim, namespace, "cancelled", nil, func(u plan.Update) {
		if u.Total > 0 || strings.Contains(u.Waiting, "mover to start") {
			cancel()
		}
	})
	cancel()
	if !errors.Is(err, context.Canceled) {
		n.Errorf("a cancelled restore gave %v", err)
	}
	n.leaves()
	volumes.Abandon(n.Context(), n.T, n.mover, claim, namespace, "cancelled") // as a run that is killed does
	if err := n.mover.Restore(n.Context(), claim, namespace, "cancelled", nil, n.progress); err != nil {
		n.Fatal(err)
	}
	if !strings.Contains(n.noted(), "of an earlier run") {
		n.Errorf("the mover of the earlier run is not told: %s", n.noted())
	}
	equal(n.T, describe(n.T, n.folder("few")), describe(n.T, n.folder("cancelled")))
	n.leaves()
}

func (n *node) shortRestore() {
	claim := n.backup("few") // of the part before
	n.claim("short")
	claim.Files += 10
	err := n.mover.Restore(n.Context(), claim, namespace, "short", nil, n.progress)
	if err == nil || !strings.Contains(err.Error(), "the restore is incomplete") {
		n.Errorf("fewer files than the manifest tells: %v", err)
	}
	claim.Snapshot = "dddddddd"
	if err := n.mover.Restore(n.Context(), claim, namespace, "short", nil, n.progress); err == nil || !strings.Contains(err.Error(), "no matching ID found") {
		n.Errorf("a snapshot that is not there: %v", err)
	}
	n.leaves()
}

// hooks writes to the volume before the copy, and takes it back after.
func (n *node) hooks() {
	n.used("hooked", `
    pre.hook.backup.velero.io/container: main,
    pre.hook.backup.velero.io/command: '["sh", "-c", "echo quiet > /data/state; echo it is quiet now"]',
    post.hook.backup.velero.io/command: '["sh", "-c", "cat /data/state; rm /data/state"]'`)
	claim := n.backup("hooked")
	if notes := n.noted(); !strings.Contains(notes, "pre hook of pod stateful/hooked (container main): it is quiet now") ||
		!strings.Contains(notes, "post hook of pod stateful/hooked (container main): quiet") {
		n.Errorf("the output of hooks is not kept: %s", notes)
	}
	if _, err := os.Stat(filepath.Join(n.folder("hooked"), "state")); !errors.Is(err, os.ErrNotExist) {
		n.Errorf("the post hook did not run: %v", err)
	}
	n.claim("quiet")
	if err := n.mover.Restore(n.Context(), claim, namespace, "quiet", nil, n.progress); err != nil {
		n.Fatal(err)
	}
	if raw, err := os.ReadFile(filepath.Join(n.folder("quiet"), "state")); err != nil || string(raw) != "quiet\n" {
		n.Errorf("the copy was not made between the hooks: %q %v", raw, err)
	}
}

func (n *node) failingHooks() {
	post := `post.hook.backup.velero.io/command: '["sh", "-c", "echo ran >> /data/post"]'`
	n.used("broken", `pre.hook.backup.velero.io/command: '["sh", "-c", "echo no room >&2; exit 3"]', `+post)
	n.used("slow", `pre.hook.backup.velero.io/command: '["sleep", "60"]', pre.hook.backup.velero.io/timeout: 2s, `+post)
	n.used("lenient", `pre.hook.backup.velero.io/command: /bin/false, pre.hook.backup.velero.io/on-error: Continue, `+post)
	for name, want := range map[string]string{"broken": "no room", "slow": "did not end within 2s"} {
		claims, err := n.mover.Backup(n.Context(), []volumes.Volume{n.find(name)}, n.progress)
		if err == nil || !strings.Contains(err.Error(), want) || len(claims) > 0 {
			n.Errorf("%s: took %d claims, %v", name, len(claims), err)
		}
	}
	n.backup("lenient")
	for _, name := range []string{"broken", "slow", "lenient"} {
		if raw, err := os.ReadFile(filepath.Join(n.folder(name), "post")); err != nil || string(raw) != "ran\n" {
			n.Errorf("%s: the post hook ran %q %v", name, raw, err)
		}
	}
	if !strings.Contains(n.noted(), "failed, and the snapshot continues") {
		n.Error("a hook that failed is not told")
	}
}
