package state_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/state"
	"github.com/rekindle-dev/rekindle/test/badline"
)

const mib = 1 << 20

// behind is a repository that is reached by a bad line, and so much data that it takes many requests to bring it there.
type behind struct {
	*repo
	line    *badline.Line
	url     string // of the repository, by way of the line
	through *state.Repository
	from    string // 48 files of 1 MiB
}

func newBehind(t *testing.T) *behind {
	t.Helper()
	r := newRepo(t)
	access, end, err := r.Expose(t.Context(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	server := strings.TrimPrefix(access.URL, "rest:")
	b := &behind{repo: r, line: badline.New(t, server, "127.0.0.1:0"), from: t.TempDir()}
	b.url = "rest:" + b.line.Through(server)
	b.through = r.open(b.url, password)
	for i := range 48 {
		raw := make([]byte, mib)
		_, err := rand.Read(raw)
		if err := errors.Join(err, os.WriteFile(filepath.Join(b.from, string(rune('A'+i))), raw, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// backup copies the files by way of the line, as a mover does.
func (b *behind) backup(set string) error {
	return b.restic(state.BackupArgs("prod", set, "shop/data", b.from, "")...)
}

func (b *behind) restic(args ...string) error {
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute) // restic alone may hang when it may save no more
	defer cancel()
	cmd := exec.CommandContext(ctx, b.repo.restic, append(args, "--no-cache")...)
	cmd.Env = append(os.Environ(), "RESTIC_REPOSITORY="+b.url, "RESTIC_PASSWORD="+password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		lines := slices.DeleteFunc(strings.Split(string(out), "\n"), func(line string) bool { return strings.Contains(line, `"status"`) })
		return fmt.Errorf("%w: %s", err, strings.Join(lines, "\n"))
	}
	return nil
}

// restore brings the newest snapshot to a new folder by way of the line, and compares it.
func (b *behind) restore() error {
	to := b.t.TempDir()
	if err := b.restic("restore", "latest:"+b.from, "--target", to, "--verify", "--no-lock"); err != nil {
		return err
	}
	same(b.t, b.from, to)
	return nil
}

// TestALineThatIsCutForAMoment is cut in the midst of a volume, there and back: nobody begins again from the start.
func TestALineThatIsCutForAMoment(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	there := func() error { return b.backup(state.NewID(hour(1))) }
	for i, do := range []func() error{there, b.restore} {
		before := b.line.Passed()
		b.line.CutAfter(29*mib, 3*time.Second)
		if err := do(); err != nil {
			t.Fatalf("way %d: %v", i, err)
		}
		if passed := (b.line.Passed() - before) / mib; passed < 48 || passed >= 2*48 { // what was under way, in parallel
			t.Errorf("way %d: %d MiB passed for 48", i, passed)
		}
	}
	b.plain(b.dir, "check", "--read-data")
}

// TestCredentialsThatAreRevokedOnTheWay leave nothing that counts as a snapshot; with others it goes on.
func TestCredentialsThatAreRevokedOnTheWay(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	older := b.take(hour(1), 3, true)
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		id := state.NewID(hour(2))
		b.line.RefuseAfter(20*mib, status)
		if err := b.backup(id); err == nil {
			t.Errorf("%d: nothing is said", status)
		}
		began := time.Now()
		err := b.through.Put(t.Context(), state.Manifest{ID: id, Cluster: "prod", Time: hour(2), Complete: true})
		if text := fault.Text(err); !strings.Contains(text, "credentials") || strings.Contains(text, password) || time.Since(began) > time.Minute {
			t.Errorf("%d: after %s: %s", status, time.Since(began), text)
		}
		b.line.Accept()
		m, err := b.through.Choose(t.Context(), "")
		if err != nil || m.ID != older.ID {
			t.Errorf("%d: %+v, %v", status, m, err)
		}
	}
	if err := errors.Join(b.backup(state.NewID(hour(3))), b.restore()); err != nil {
		t.Fatal(err)
	}
	b.plain(b.dir, "unlock", "--remove-all") // of those who were not let in to take theirs away
	b.plain(b.dir, "check", "--read-data")
}

// TestABitThatIsChangedOnItsWay is never written, neither to the repository nor to a volume.
func TestABitThatIsChangedOnItsWay(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	b.line.Flip(2)
	if err := b.backup(state.NewID(hour(1))); err != nil {
		t.Fatal(err)
	}
	b.plain(b.dir, "check", "--read-data")
	if b.line.Flips() != 0 {
		t.Fatal("nothing was changed on its way there")
	}
	b.line.Flip(2)
	if err := b.restore(); err != nil {
		t.Error(err)
	}
	if b.line.Flips() != 0 {
		t.Fatal("nothing was changed on its way back")
	}
	b.line.Flip(1 << 20) // every answer is wrong
	if err := b.restore(); err == nil || !strings.Contains(err.Error(), b.from) {
		t.Errorf("a file that cannot be had as it was is not named: %v", err)
	}
}

// TestARepositoryThatDoesNotAnswer is told soon, with the reason, and as something that may pass.
func TestARepositoryThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	b.line.Cut()
	began := time.Now()
	_, err := b.through.Choose(t.Context(), "")
	if text := fault.Text(err); time.Since(began) > time.Minute || !fault.IsTransient(err) || !strings.Contains(text, "does not answer: ") || !strings.Contains(text, "EOF") {
		t.Errorf("after %s: %s", time.Since(began), text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
	defer cancel()
	if _, err := b.through.Sets(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fault.Text(err), "does not answer") {
		t.Errorf("got %v", err)
	}
	b.line.Accept()
	if sets, err := b.through.Sets(t.Context()); err != nil || len(sets) != 0 {
		t.Errorf("%v, %v", sets, err)
	}
}
