package state_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// packs are the files of the repository that hold data, the largest first.
func (r *repo) packs() []string {
	r.t.Helper()
	packs, err := filepath.Glob(filepath.Join(r.dir, "data", "*", "*"))
	if err != nil {
		r.t.Fatal(err)
	}
	size := func(name string) int64 {
		info, err := os.Stat(name)
		if err != nil {
			r.t.Fatal(err)
		}
		return info.Size()
	}
	slices.SortFunc(packs, func(a, b string) int { return int(size(b) - size(a)) })
	return packs
}

// TestALostFileOfTheRepositoryNamesTheClaim tells what cannot be restored any more, and of which set, not only that
// something is lost.
func TestALostFileOfTheRepositoryNamesTheClaim(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	older := r.take(hour(6), 3, true)
	had := r.packs()
	newer := r.take(hour(8), 5, true)
	added := slices.DeleteFunc(r.packs(), func(name string) bool { return slices.Contains(had, name) })
	claims, files := 0, 0
	for _, pack := range added { // of the files, of their folder, and of the manifest and its folder
		raw, err := os.ReadFile(pack)
		if err := errors.Join(err, os.Remove(pack)); err != nil {
			t.Fatal(err)
		}
		err = r.Verify(t.Context(), &newer, "100%", nil)
		text := fault.Text(err)
		if err == nil || !strings.Contains(text, newer.ID) {
			t.Errorf("%s is lost: %v", filepath.Base(pack), err)
		}
		if strings.Contains(text, "claim shop/data of the set "+newer.ID+" cannot be restored completely") {
			claims++
		}
		if strings.Contains(text, "5 files damaged or lost, such as "+r.data+"/0") {
			files++
		}
		if err := os.WriteFile(pack, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if claims != 2 || files != 1 || len(added) != 4 {
		t.Errorf("of %d lost files %d were told as the claim's, %d as that of its files", len(added), claims, files)
	}
	if err := os.Remove(added[0]); err != nil {
		t.Fatal(err)
	}
	err := r.Verify(t.Context(), &older, "100%", nil)
	if text := fault.Text(err); err == nil || !strings.Contains(text, "no volume of the set "+older.ID) || !strings.Contains(text, filepath.Base(added[0])[:8]) {
		t.Errorf("got %v", err)
	}
}

// locked begins a run of restic that holds a lock, and returns once it does.
func (r *repo) locked(args ...string) (*exec.Cmd, io.WriteCloser) {
	r.t.Helper()
	cmd := exec.Command(r.restic, args...)
	cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY="+r.dir, "RESTIC_PASSWORD="+password)
	in, err := cmd.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	err = wait.Poll(ctx, wait.Func("its lock", func(context.Context) (bool, string, error) {
		return len(r.locks()) > 0, "", nil
	}), 10*time.Millisecond, nil)
	if err != nil {
		_ = cmd.Process.Kill()
		r.t.Fatal(err)
	}
	return cmd, in
}

func (r *repo) locks() []string {
	locks, err := filepath.Glob(filepath.Join(r.dir, "locks", "*"))
	if err != nil {
		r.t.Fatal(err)
	}
	return slices.DeleteFunc(locks, func(name string) bool { return strings.Contains(name, "-tmp-") }) // not yet one
}

// TestAKilledRunLocksNobodyOut kills restic while it has its lock: what comes next goes on at once.
func TestAKilledRunLocksNobodyOut(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.take(hour(1), 1, true)
	next := 2
	for what, use := range map[string]func() error{
		"prune": func() error { // is alone: keeps all others out
			m := state.Manifest{ID: state.NewID(hour(next)), Cluster: "prod", Time: hour(next), Complete: true}
			return r.Put(t.Context(), m)
		},
		"prune, then init": func() error { _, err := r.Init(t.Context()); return err },
		"backup --stdin":   func() error { return r.Remove(t.Context(), nil, nil) }, // keeps those out that want to be alone
	} {
		next++
		command, _, _ := strings.Cut(what, ",")
		for len(r.locks()) == 0 { // else it had done all that it does when it was to be killed
			cmd, _ := r.locked(strings.Fields(command)...)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it was killed
		}
		began := time.Now()
		if err := use(); err != nil || time.Since(began) > time.Minute {
			t.Errorf("%s: after %s: %v", what, time.Since(began), err)
		}
		if locks := r.locks(); len(locks) > 0 {
			t.Errorf("%s: left: %v", what, locks)
		}
	}
}

// TestALiveRunIsWaitedFor shows that the lock of one that is at work is not touched.
func TestALiveRunIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	set := r.take(hour(1), 1, true)
	cmd, in := r.locked("backup", "--stdin", "--host", "prod")
	sets, err := r.Sets(t.Context())
	if err != nil || len(sets) != 1 || sets[0].ID != set.ID {
		t.Errorf("a list needs no lock: %+v, %v", sets, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	if err := r.Remove(ctx, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	_, err = io.WriteString(in, "content")
	if err := errors.Join(err, in.Close(), cmd.Wait()); err != nil {
		t.Errorf("the one that was at work: %v", err)
	}
	if locks := r.locks(); len(locks) > 0 {
		t.Errorf("left: %v", locks)
	}
}

// TestWritersSideBySide lets sets be made while others are removed.
func TestWritersSideBySide(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.take(hour(1), 2, true)
	r.take(hour(2), 2, true)
	sets, err := r.Sets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	for i := range 2 {
		group.Go(func() error {
			at := hour(3 + i)
			return r.Put(t.Context(), state.Manifest{ID: state.NewID(at), Cluster: "prod", Time: at, Complete: true})
		})
	}
	group.Go(func() error { return r.Remove(t.Context(), state.Excess(sets, 1, time.Now()), nil) })
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	sets, err = r.Sets(t.Context())
	if err != nil || len(sets) != 3 || sets[2].Time != hour(2) {
		t.Fatalf("%+v, %v", sets, err)
	}
	m, err := r.Choose(t.Context(), sets[2].ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(t.Context(), m, "100%", nil); err != nil {
		t.Error(err)
	}
}

// TestARemovalThatIsKilledIsFinishedByTheNext kills restic at each of its starts, with SIGKILL.
func TestARemovalThatIsKilledIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	for start := 1; start <= 3; start++ { // forget the manifest, forget the rest, prune
		r.take(hour(start), 2, true)
		newest := r.take(hour(start+10), 2, true)
		sets, err := r.Sets(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		killed := r.openWith(r.killedAt(start))
		if err := killed.Remove(t.Context(), state.Excess(sets, 1, time.Now()), nil); err == nil {
			t.Fatalf("start %d: it was killed, and says nothing", start)
		}
		sets, err = r.Sets(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sets[1:] {
			if s.Complete && len(s.Claims) == 0 {
				t.Errorf("start %d: %s counts as complete without its data", start, s.ID)
			}
		}
		if err := r.Remove(t.Context(), state.Excess(sets, 1, time.Now()), nil); err != nil {
			t.Fatal(err)
		}
		sets, err = r.Sets(t.Context())
		if err != nil || len(sets) != 1 || sets[0].ID != newest.ID || len(r.locks()) > 0 {
			t.Errorf("start %d: %+v, %v", start, sets, err)
		}
	}
	r.plain(r.dir, "check", "--read-data")
}

// TestWhatAKilledRemovalLeftIsFreed: one that was killed after it had forgotten all sets leaves none to delete, but their data
// and its lock, which keeps all others out.
func TestWhatAKilledRemovalLeftIsFreed(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.take(hour(1), 2, true)
	r.take(hour(2), 2, true)
	if freed, err := r.Free(t.Context(), nil); freed || err != nil {
		t.Errorf("of what is needed: %t, %v", freed, err)
	}
	sets, err := r.Sets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	packs := len(r.packs())
	if err := r.openWith(r.killedAt(3)).Remove(t.Context(), state.Excess(sets, 1, time.Now()), nil); err == nil {
		t.Fatal("it was killed, and says nothing")
	}
	for len(r.locks()) == 0 { // else it had done all that it does when it was to be killed
		cmd, _ := r.locked("prune", "--dry-run")
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
	if sets, err = r.Sets(t.Context()); err != nil || len(state.Excess(sets, 1, time.Now())) != 0 || len(r.packs()) != packs {
		t.Fatalf("%+v, %v", sets, err)
	}
	for try, want := range []bool{true, false} {
		if freed, err := r.Free(t.Context(), nil); freed != want || err != nil || len(r.locks()) > 0 {
			t.Errorf("run %d: %t, %v; locks: %v", try, freed, err, r.locks())
		}
	}
	if len(r.packs()) >= packs {
		t.Errorf("%d packs, as before", packs)
	}
}

// killedAt is a restic that is killed at its nth start.
func (r *repo) killedAt(n int) string {
	r.t.Helper()
	dir := r.t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\necho >>%[1]s/starts\n[ $(wc -l <%[1]s/starts) -eq %[2]d ] && kill -9 $$\nexec %[3]s \"$@\"\n", dir, n, r.restic)
	file := filepath.Join(dir, "restic")
	syscall.ForkLock.RLock() // a process that is forked meanwhile would hold it open for writing: "text file busy"
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(file, []byte(script), 0o700); err != nil {
		r.t.Fatal(err)
	}
	return file
}

func (r *repo) openWith(restic string) *state.Repository {
	r.t.Helper()
	opened, err := state.Open(state.Settings{Repository: r.dir, Password: []byte(password), Restic: restic, Cluster: "prod"})
	if err != nil {
		r.t.Fatal(err)
	}
	return opened
}

// TestWhatPodsCanNotUseIsRefused names what of this machine's access to a repository does not go over to pods.
func TestWhatPodsCanNotUseIsRefused(t *testing.T) {
	for repository, env := range map[string]map[string]string{
		"sftp:backup@example.com:/srv": nil,
		"gs:bucket:/":                  {"GOOGLE_APPLICATION_CREDENTIALS": "/home/me/key.json"},
		"/srv/state":                   nil, // and no address that pods reach
	} {
		r, err := state.Open(state.Settings{Repository: repository, Password: []byte(password), Env: env, Cluster: "prod"})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Expose(t.Context(), ""); fault.KindOf(err) != fault.Usage || !strings.Contains(fault.Text(err), "hint") {
			t.Errorf("%s: %v", repository, err)
		}
	}
	r, err := state.Open(state.Settings{Repository: "s3:https://s3.example.com/b", Password: []byte(password), Env: map[string]string{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	access, end, err := r.Expose(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	if len(access.Env) != 4 || access.Env["AWS_ACCESS_KEY_ID"] != "a" || access.Env["RESTIC_REPOSITORY"] != access.URL || access.Env["RESTIC_PASSWORD"] != password {
		t.Errorf("%v", access)
	}
}
