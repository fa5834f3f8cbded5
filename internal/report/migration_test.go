package report

import (
	"encoding/json"
	"strings"
	"testing"
)

// migrated is what a cutover told that went well.
func migrated() Migration {
	return Migration{
		ID: "20261123-095851-dp4hne", From: "old", To: "new", Epoch: 1, Phase: "switched", Write: "new",
		Passes: []MigrationPass{
			{Set: "a", Bytes: 3 << 30, Files: 10_000, Seconds: 41.2}, {Set: "b", Bytes: 3 << 30, Files: 10_001, Seconds: 3.1, Stopped: true},
		},
		StoppedSeconds: 14.2345,
		Probes: []MigrationProbe{{Probe: "https://shop", Requests: 500, OutageSeconds: 0.12345, Lines: []string{
			"https://shop: 500 requests in 1m40s, none failed " + secret,
		}}},
		Remains: []string{"rekindle migrate confirm a b"},
	}
}

func TestAMigrationThatIsNoneHasNoPart(t *testing.T) {
	text, _ := tellWith(t, Plain, func(r *Reporter) { r.Migration(Migration{From: "old", To: "new"}) })
	if strings.Contains(text, "migration") {
		t.Errorf("told is:\n%s", text)
	}
}

func TestAMigrationIsToldInEveryFormat(t *testing.T) {
	told := func(format Format) (text, page string) {
		return tellWith(t, format, func(r *Reporter) { r.Migration(migrated()) })
	}
	text, page := told(Plain)
	for _, want := range []string{
		"migration  20261123-095851-dp4hne, switched",
		"writes     new",
		"pass       3.0 GiB in 10000 files, in 41.2s while writers went on",
		"pass       3.0 GiB in 10001 files, in 3.1s while nobody could write",
		"stopped    nobody could write for 14.2s at most",
		"users      https://shop: 500 requests in 1m40s, none failed",
		"to do      rekindle migrate confirm a b",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
		if _, fact, _ := strings.Cut(want, "  "); !strings.Contains(page, strings.TrimSpace(fact)) {
			t.Errorf("no %q on the page", fact)
		}
	}
	raw, _ := told(JSON)
	var doc Document
	if err := json.Unmarshal([]byte(raw), &doc); err != nil || doc.Migration == nil {
		t.Fatalf("%v in %s", err, raw)
	}
	if m := doc.Migration; m.StoppedSeconds != 14.235 && m.StoppedSeconds != 14.234 || m.Probes[0].OutageSeconds != 0.123 || len(m.Passes) != 2 || m.Write != "new" {
		t.Errorf("got %+v", m)
	}
}
