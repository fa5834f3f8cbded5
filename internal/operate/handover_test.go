package operate

import (
	"strings"
	"testing"
	"time"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/migrate"
)

// endOf is a cluster of a migration, of which only the name matters.
func endOf(name string) *end {
	docs := &config.Documents{Cluster: &config.Cluster{}}
	docs.Cluster.Metadata.Name = name
	return &end{docs: &Documents{Documents: docs}}
}

// TestWhoMayGive: a handover follows from what both clusters have recorded, whichever run or machine recorded it.
func TestWhoMayGive(t *testing.T) {
	old, target := endOf("old"), endOf("new")
	forth, back := "new", "old" // where the data goes
	for _, c := range []struct {
		name              string
		record            *migrate.Record
		giving, receiving *end
		refused           string // empty: it may
	}{
		{"a cutover of what was not staged", nil, old, target, "no migration from old to new is under way"},
		{"a cutover of what was staged", &migrate.Record{Phase: migrate.Staged, Towards: forth}, old, target, ""},
		{"a cutover that was killed before nobody could write", &migrate.Record{Phase: migrate.Fencing, Towards: forth}, old, target, ""},
		{"a cutover that was killed when all data was there", &migrate.Record{Phase: migrate.Carried, Towards: forth}, old, target, ""},
		{"a cutover that was killed when the target could write", &migrate.Record{Phase: migrate.Opening, Towards: forth}, old, target, ""},
		{"a cutover that was done", &migrate.Record{Phase: migrate.Switched, Towards: forth}, old, target, ""},
		{"a cutover after the source was given up", &migrate.Record{Phase: migrate.Confirmed, Towards: forth}, old, target, "no migration from old to new is under way"},
		{"a cutover while a rollback is under way", &migrate.Record{Phase: migrate.Fencing, Towards: back}, old, target, "a rollback is in progress"},
		{"a cutover after a rollback", &migrate.Record{Phase: migrate.RolledBack, Towards: back}, old, target, "already rolled back"},
		{"a rollback after the cutover", &migrate.Record{Phase: migrate.Switched, Towards: forth}, target, old, ""},
		{"a rollback that was killed", &migrate.Record{Phase: migrate.Carried, Towards: back}, target, old, ""},
		{"a rollback after the source was given up", &migrate.Record{Phase: migrate.Confirmed, Towards: forth}, target, old, "no migration from new to old is under way"},
	} {
		err := mayGive(c.record, c.giving, c.receiving, old.name())
		if c.refused == "" && err != nil || c.refused != "" && (fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestAMachineThatSleptOpensNothing: the limit counts the time of the wall clock, too.
func TestAMachineThatSleptOpensNothing(t *testing.T) {
	for _, c := range []struct {
		limit, stopped time.Duration
		refused        bool
	}{{0, time.Hour, false}, {time.Minute, time.Second, false}, {time.Minute, time.Hour, true}} {
		m := &migration{to: *endOf("new"), o: MigrateOptions{MaxDowntime: c.limit}, stopped: time.Now().Round(0).Add(-c.stopped)}
		if err := m.tooLong(); (err != nil) != c.refused || c.refused && !strings.Contains(fault.Text(err), "nobody could write for 1h0m0s") {
			t.Errorf("stopped for %s of %s: %v", c.stopped, c.limit, err)
		}
	}
}
