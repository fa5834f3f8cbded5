package state

import (
	"slices"
	"time"
)

// attempt is a snapshot that a schedule took of a claim, with the receipts that go with it.
type attempt struct {
	*snapshot
	receipts []*snapshot
	whole    bool // one of them surely is of it
}

// attempts are those of a claim, by their time. A receipt does not say which snapshot it is of: it comes right after it.
// When several were at work side by side, that may be any of them.
func attempts(list []schedule, taken []*snapshot) []*attempt {
	slices.SortFunc(taken, func(a, b *snapshot) int { return a.Time.Compare(b.Time) })
	var all []*attempt
	var receipts []*snapshot
	for _, s := range taken {
		if slices.Contains(s.Tags, tagReceipt) {
			receipts = append(receipts, s)
		} else {
			all = append(all, &attempt{snapshot: s})
		}
	}
	if len(all) == 0 {
		for _, s := range receipts { // somebody has removed what they are of
			all = append(all, &attempt{snapshot: s})
		}
		return all
	}
	for rest := all; len(rest) > 0; {
		n := sideBySide(rest)
		until := len(receipts)
		if n < len(rest) {
			until, _ = slices.BinarySearchFunc(receipts, rest[n].Time, func(r *snapshot, t time.Time) int { return r.Time.Compare(t) })
		}
		prove(list, rest[:n], receipts[:until])
		rest, receipts = rest[n:], receipts[until:]
	}
	return all
}

// sideBySide counts the first attempts that were at work while another of them was.
func sideBySide(sorted []*attempt) int {
	end := sorted[0].end()
	for n := 1; n < len(sorted); n++ {
		if !sorted[n].Time.Before(end) {
			return n
		}
		if later := sorted[n].end(); later.After(end) {
			end = later
		}
	}
	return len(sorted)
}

// prove gives attempts that were at work side by side the receipts that came until the next one began. They are whole if
// there is one for each: after its end and before the next tick, else its own snapshot is gone. If one is missing nobody
// knows whose, and the receipts go with all of the attempts.
func prove(list []schedule, some []*attempt, receipts []*snapshot) {
	left := slices.Clone(receipts)
	for _, one := range slices.SortedFunc(slices.Values(some), func(a, b *attempt) int { return a.end().Compare(b.end()) }) {
		i := slices.IndexFunc(left, func(r *snapshot) bool {
			return !r.Time.Before(one.end()) && sameTick(list, one.end(), r.Time)
		})
		if i < 0 {
			for _, all := range some {
				all.receipts, all.whole = receipts, false
			}
			return
		}
		one.receipts, one.whole = left[i:i+1:i+1], true
		left = slices.Concat(left[:i], left[i+1:])
	}
	last := some[len(some)-1]
	last.receipts = append(last.receipts, left...)
}

// sameTick says whether a schedule was due for the last time at the same moment before two times.
func sameTick(list []schedule, a, b time.Time) bool {
	by := at(list, a)
	return by == at(list, b) && (by == nil || by.begins(a).Equal(by.begins(b)))
}
