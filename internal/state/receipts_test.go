package state

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestWhatAReceiptProves lists, for a schedule of every hour, what is in the repository of one claim, in minutes after a
// tick: "s1 0-30" is a snapshot, "r 31" a receipt. What counts as whole, by the sets it is in, is wanted.
func TestWhatAReceiptProves(t *testing.T) {
	for name, c := range map[string]struct {
		has  string
		want string
	}{
		"one after another":                                   {"s1 0-5, r 6, s2 60-65, r 66", "0:s1 60:s2"},
		"the first try did not read all":                      {"s1 0-5, s2 7-12, r 13", "0:s2"},
		"the second did not":                                  {"s1 0-5, r 6, s2 7-12", "0:s1"},
		"a second one ended in between, and did not read all": {"s1 0-30, s2 5-10, r 31", ""},
		"the first one did not, and it ended last":            {"s1 0-30, s2 5-10, r 11", ""},
		"both did":                                   {"s1 0-30, s2 5-10, r 11, r 31", "0:s2"},
		"both did, over a tick":                      {"s1 50-80, s2 60-70, r 71, r 81", "0:s1 60:s2"},
		"three are a chain":                          {"s1 0-10, s2 5-20, s3 15-30, r 11, r 31", ""},
		"one lasts longer than a tick":               {"s1 50-80, r 81", "0:s1"},
		"its snapshot is gone, an older one is not":  {"s1 0-5, r 66", ""},
		"its snapshot is gone, a newer one is there": {"r 6, s2 60-65", ""},
		"nothing but receipts":                       {"r 6, r 66", ""},
	} {
		sets := groupScheduled(history(t, c.has))
		slices.SortFunc(sets, func(a, b Summary) int { return a.Time.Compare(b.Time) })
		var got []string
		for _, set := range sets {
			for _, claim := range set.Claims {
				got = append(got, fmt.Sprintf("%d:%s", int(set.Time.Sub(tick).Minutes()), claim.Snapshot))
			}
			if set.Complete != (len(set.Claims) == 1) {
				t.Errorf("%s: %+v", name, set)
			}
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: whole are %q, want %q", name, text, c.want)
		}
	}
}

// tick is one of the schedule.
var tick = time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)

// history is what restic lists of a claim, with the manifest of its schedule.
func history(t *testing.T, has string) []snapshot {
	t.Helper()
	at := func(minute int) time.Time { return tick.Add(time.Duration(minute) * time.Minute) }
	all := []snapshot{{ID: "m", Time: at(-1), Tags: []string{tagOurs, tagSchedule, tagCron + "0_*_*_*_*", tagWants + "shop/a"}}}
	for i, text := range strings.Split(has, ", ") {
		var id string
		var begin, end int
		one := snapshot{Tags: []string{tagOurs, tagSchedule, tagClaim + "shop/a"}}
		if n, _ := fmt.Sscanf(text, "%s %d-%d", &id, &begin, &end); n == 3 {
			one.ID = id
		} else if n == 2 {
			one.ID, one.Tags, end = fmt.Sprint(id, i), append(one.Tags, tagReceipt), begin
		} else {
			t.Fatalf("%q", text)
		}
		one.Time = at(begin)
		summary := fmt.Sprintf(`{"summary":{"backup_start":%q,"backup_end":%q}}`, at(begin).Format(time.RFC3339), at(end).Format(time.RFC3339))
		if err := json.Unmarshal([]byte(summary), &one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}
