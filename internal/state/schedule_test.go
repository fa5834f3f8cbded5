package state_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// scheduled is a repository that a schedule writes to, every hour.
type scheduled struct {
	*repo
	first time.Time // a tick after the schedule was made
}

func newScheduled(t *testing.T, claims ...string) *scheduled {
	t.Helper()
	s := &scheduled{repo: newRepo(t)}
	s.schedule("0 * * * *", claims...)
	s.first = time.Now().UTC().Truncate(time.Hour).Add(time.Hour)
	later, err := state.Open(state.Settings{
		Repository: s.dir, Password: []byte(password), Restic: s.restic, Cluster: "prod",
		Now: func() time.Time { return s.first.AddDate(0, 0, 7) }, // what these tests take has been taken
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Repository = later
	return s
}

// schedule writes the manifest of one.
func (s *scheduled) schedule(fields string, claims ...string) {
	s.t.Helper()
	due, err := state.ParseCron(fields)
	if err != nil {
		s.t.Fatal(err)
	}
	m := state.Manifest{Cluster: "prod", Time: time.Now().UTC(), Commit: "c0ffee", Objects: []map[string]any{{"kind": "Secret"}}}
	for _, claim := range claims {
		namespace, name, _ := strings.Cut(claim, "/")
		m.Claims = append(m.Claims, state.Claim{Namespace: namespace, Name: name, Size: "1Gi", Class: "standard"})
	}
	m.Claims = append(m.Claims, state.Claim{Namespace: "shop", Name: "cache", Size: "1Gi", Skipped: "annotation"})
	if err := s.PutSchedule(s.t.Context(), m, due); err != nil {
		s.t.Fatal(err)
	}
}

// takes takes a claim as its CronJob does.
func (s *scheduled) takes(claim string, at time.Time, files int, whole bool) {
	s.t.Helper()
	then := []string{"--time", at.UTC().Format(time.DateTime)}
	s.plain(s.dir, append(state.ScheduledArgs("prod", claim, s.files(files, claim+at.String())), then...)...)
	if !whole {
		return
	}
	then[1] = at.Add(20 * time.Second).UTC().Format(time.DateTime)
	s.plain(s.dir, append(state.ReceiptArgs("prod", claim, s.files(1, "receipt")), then...)...)
}

func (s *scheduled) sets() []state.Summary {
	s.t.Helper()
	sets, err := s.Sets(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return sets
}

// TestWhatCronJobsTakeMakesSets: they know no set. One is whole when each claim was taken between two ticks, with all its
// files.
func TestWhatCronJobsTakeMakesSets(t *testing.T) {
	t.Parallel()
	s := newScheduled(t, "shop/a", "shop/b")
	if sets := s.sets(); len(sets) != 0 {
		t.Errorf("a schedule alone is no set: %+v", sets)
	}
	first, second, third := s.first, s.first.Add(time.Hour), s.first.Add(2*time.Hour)
	s.takes("shop/a", first.Add(3*time.Second), 3, true)
	s.takes("shop/b", first.Add(5*time.Minute), 4, true) // its node was busy
	s.takes("shop/a", second.Add(3*time.Second), 3, false)
	s.takes("shop/a", second.Add(30*time.Second), 5, true) // begun again
	s.takes("shop/b", second.Add(3*time.Second), 2, false) // a file could not be read
	s.takes("shop/gone", third.Add(3*time.Second), 2, true)
	s.takes("shop/a", third.Add(3*time.Second), 2, true)

	sets := s.sets()
	if len(sets) != 3 {
		t.Fatalf("%+v", sets)
	}
	for i, want := range []struct {
		at       time.Time
		complete bool
		why      string
	}{{third, false, "claim shop/b"}, {second, false, "claim shop/b"}, {first, true, ""}} {
		set := sets[i]
		if !set.Time.Equal(want.at) || set.ID != want.at.Format("20060102-150405")+"-scheduled" || set.Complete != want.complete || !set.Scheduled {
			t.Errorf("%d: %+v", i, set)
		}
		why, err := s.Why(t.Context(), &set)
		if err != nil || !strings.Contains(strings.Join(why, "; "), want.why) || want.complete != (len(why) == 0) {
			t.Errorf("%d: %q, %v", i, why, err)
		}
	}
	m, err := s.Choose(t.Context(), "")
	if err != nil || m.ID != sets[2].ID || !m.Time.Equal(first) || !m.Complete || m.Prepared.IsZero() || m.Commit != "c0ffee" || len(m.Objects) != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	if len(m.Claims) != 3 || m.Claims[0].Files != 3 || m.Claims[1].Files != 4 || m.Claims[0].Class != "standard" || m.Claims[2].Snapshot != "" {
		t.Errorf("%+v", m.Claims)
	}
	if err := s.Verify(t.Context(), m, "100%", nil); err != nil {
		t.Error(err)
	}
	if _, err := s.Choose(t.Context(), sets[0].ID); fault.KindOf(err) != fault.Refused {
		t.Errorf("one that is not whole: %v", err)
	}
	by := s.take(third.Add(time.Minute), 1, true) // beside those that are taken by hand
	if m, err = s.Choose(t.Context(), ""); err != nil || m.ID != by.ID {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestSetsOfASchedule: it goes on as it was changed, and keep takes its sets as any other.
func TestSetsOfASchedule(t *testing.T) {
	t.Parallel()
	s := newScheduled(t, "shop/a")
	for n := range 3 {
		s.takes("shop/a", s.first.Add(time.Duration(n)*time.Hour), 2, true)
	}
	if err := s.Remove(t.Context(), state.Excess(s.sets(), 1, s.first.AddDate(0, 0, 7)), nil); err != nil {
		t.Fatal(err)
	}
	last := s.sets()
	if len(last) != 1 || !last[0].Complete || !last[0].Time.Equal(s.first.Add(2*time.Hour)) {
		t.Fatalf("%+v", last)
	}
	if _, err := s.Choose(t.Context(), ""); err != nil {
		t.Errorf("the manifest that sets share went with one: %v", err)
	}
	s.schedule("30 1,2 * * *", "shop/a", "shop/b") // from now on; what was taken is in the future, so it is of this one
	m, due, err := s.Schedule(t.Context())
	if err != nil || due.String() != "30 1,2 * * *" || len(m.Claims) != 3 {
		t.Fatalf("%+v, %s, %v", m, due, err)
	}
	if sets := s.sets(); len(sets) != 1 || sets[0].Complete {
		t.Errorf("%+v", sets)
	}
	if err := s.Remove(t.Context(), s.sets(), nil); err != nil {
		t.Fatal(err)
	}
	left := s.plain(s.dir, "snapshots", "--json")
	if n := strings.Count(left, `"cron=`); n != 1 || strings.Count(left, "claim=") != 0 {
		t.Errorf("%d schedules are left: %s", n, left)
	}
	s.plain(s.dir, "check")
}

// TestAScheduleOfManyClaims has more names than one argument of a program may have bytes.
func TestAScheduleOfManyClaims(t *testing.T) {
	t.Parallel()
	var claims []string
	for i := range 1000 {
		claims = append(claims, fmt.Sprintf("shop/%s-%d", strings.Repeat("a", 150), i))
	}
	s := newScheduled(t, claims...)
	s.takes(claims[999], s.first.Add(3*time.Second), 1, true)
	sets := s.sets()
	if len(sets) != 1 || sets[0].Complete {
		t.Fatalf("%d sets", len(sets))
	}
	if why, err := s.Why(t.Context(), &sets[0]); err != nil || len(why) != 999 {
		t.Errorf("it lacks %d claims, %v", len(why), err)
	}
}

// TestWithoutItsScheduleNothingIsASet: somebody removed the manifest.
func TestWithoutItsScheduleNothingIsASet(t *testing.T) {
	t.Parallel()
	s := newScheduled(t, "shop/a")
	s.takes("shop/a", s.first, 2, true)
	s.plain(s.dir, "forget", "--unsafe-allow-remove-all", "--tag", "cron=0_*_*_*_*")
	sets := s.sets()
	if len(sets) != 1 || sets[0].Complete {
		t.Fatalf("%+v", sets)
	}
	why, err := s.Why(t.Context(), &sets[0])
	if err != nil || len(why) != 1 || !strings.Contains(why[0], "its manifest is gone") {
		t.Errorf("%q, %v", why, err)
	}
	if m, due, err := s.Schedule(t.Context()); m != nil || due.String() != "" || err != nil {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestAScheduleContinuesWhatItTook: restic reads only what changed.
func TestAScheduleContinuesWhatItTook(t *testing.T) {
	t.Parallel()
	s := newScheduled(t, "shop/a")
	dir := s.files(3, "same")
	args := state.ScheduledArgs("prod", "shop/a", dir)
	s.plain(s.dir, args...)
	s.plain(s.dir, state.ReceiptArgs("prod", "shop/a", s.files(1, "receipt"))...)
	if err := os.WriteFile(filepath.Join(dir, "new"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := s.plain(s.dir, args...); !strings.Contains(out, `"files_new":1,"files_changed":0,"files_unmodified":3`) {
		t.Error(out)
	}
}

func TestTicks(t *testing.T) {
	day := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, c := range []struct{ fields, at, tick, overdue string }{
		{"0 * * * *", "2026-11-23T06:00:00Z", "2026-11-23T06:00:00Z", "2026-11-23T08:10:00Z"},
		{"0 * * * *", "2026-11-23T08:59:59+02:00", "2026-11-23T06:00:00Z", "2026-11-23T08:10:00Z"},
		{"* * * * *", "2026-11-23T06:00:59Z", "2026-11-23T06:00:00Z", "2026-11-23T06:12:00Z"},
		{"0 2 * * 1-5", "2026-11-23T01:00:00Z", "2026-11-20T02:00:00Z", "2026-11-24T02:10:00Z"}, // over a weekend
		{"0 0 29 2 *", "2026-11-23T01:00:00Z", "2024-02-29T00:00:00Z", "2032-02-29T00:10:00Z"},
	} {
		due, err := state.ParseCron(c.fields)
		if err != nil {
			t.Fatal(err)
		}
		tick := due.Tick(day(c.at))
		if !tick.Equal(day(c.tick)) {
			t.Errorf("%s at %s: %s", c.fields, c.at, tick)
		}
		if late := due.Overdue(tick, 10*time.Minute); !late.Equal(day(c.overdue)) {
			t.Errorf("%s at %s: overdue at %s", c.fields, c.at, late)
		}
	}
	for _, fields := range []string{"0 0 30 2 *", "61 * * * *", "hourly"} {
		if _, err := state.ParseCron(fields); fault.KindOf(err) != fault.Usage || len(fault.Hints(err)) == 0 {
			t.Errorf("%s: %v", fields, err)
		}
	}
	var refused []string
	for _, repository := range []string{"/srv/state", "local:x", "sftp:me@host:/x", "rclone:x:y", "s3:https://s3.example.com/x", "rest:https://x/"} {
		if state.CheckScheduled(repository) != nil {
			refused = append(refused, repository)
		}
	}
	if !slices.Equal(refused, []string{"/srv/state", "local:x", "sftp:me@host:/x", "rclone:x:y"}) {
		t.Errorf("refused: %q", refused)
	}
}

// TestAReceiptGoesBeforeItsSnapshot kills the removal of a set in its midst: no receipt is left alone, which would prove a
// snapshot that could not read all.
func TestAReceiptGoesBeforeItsSnapshot(t *testing.T) {
	t.Parallel()
	s := newScheduled(t, "shop/a")
	s.takes("shop/a", s.first.Add(time.Second), 2, false)
	s.takes("shop/a", s.first.Add(time.Minute), 2, true)
	if err := s.openWith(s.killedAt(2)).Remove(t.Context(), s.sets(), nil); err == nil {
		t.Fatal("it was killed, and says nothing")
	}
	left := s.plain(s.dir, "snapshots", "--json", "--tag", "claim=shop/a")
	if receipts, all := strings.Count(left, `"receipt"`), strings.Count(left, `"time"`); receipts != 0 || all != 2 {
		t.Errorf("%d of the %d snapshots that are left are receipts: %s", receipts, all, left)
	}
}
