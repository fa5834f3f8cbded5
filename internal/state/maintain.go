package state

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Verify proves a set: that the snapshots of its manifest are there and whole, and that the repository gives back
// what was written. It reads a part of the data again: "100%" is all of it, "2.5%" or "1/10" a sample.
func (r *Repository) Verify(ctx context.Context, m *Manifest, part string, p plan.Progress) error {
	sets, err := r.Sets(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(sets, func(s Summary) bool { return s.ID == m.ID })
	if i < 0 {
		return r.on(fault.New(fault.Failed, "the set %s is gone", m.ID).WithHint("rekindle snapshots lists the existing sets"))
	}
	_, err = r.load(ctx, &sets[i])
	errs := []error{err}
	for _, c := range m.Claims {
		at := slices.IndexFunc(sets[i].Claims, func(s ClaimSummary) bool { return s.Snapshot == c.Snapshot })
		if at >= 0 && sets[i].Claims[at].Files != c.Files {
			errs = append(errs, r.on(fault.New(fault.Failed, "the snapshot of claim %s/%s has %s, its manifest says %d", c.Namespace, c.Name, plan.Count(sets[i].Claims[at].Files, "file"), c.Files)))
		}
	}
	p.Waiting("restic reads the data again")
	_, err = r.run(ctx, call{locks: true, args: []string{"check", "--json", "--read-data-subset", part}, line: func(line []byte) {
		var status struct {
			Done  int64 `json:"packs_done"`
			Total int64 `json:"packs_total"`
		}
		if json.Unmarshal(line, &status) == nil && status.Total > 0 {
			p.Count(status.Done, status.Total, "packs")
		}
	}})
	return fault.Join(append(errs, r.damage(ctx, m, part, err))...)
}

// Making is how long a set may be in the making: the first one of a terabyte takes a day.
const Making = 24 * time.Hour

// Excess lists the sets that last complete ones leave over: the older complete ones, and those that are older than the newest
// complete one and not whole, or were taken by a migration to carry data. One whose run may still be at work is none. One from the
// future, which nothing restores, does not count: by a clock that was wrong it would take the place of one that can be restored.
func Excess(sets []Summary, last int, now time.Time) []Summary {
	var over []Summary
	complete, newest := 0, true
	for _, s := range sets { // the newest first
		whole := s.Whole() && !s.FromTheFuture(now)
		counts := whole && !s.Pass
		if counts {
			complete++
		}
		if counts && complete > last || !counts && !newest && !s.making(now) {
			over = append(over, s)
		}
		newest = newest && !whole
	}
	return over
}

// making says whether a run may still be at work on a set.
func (s *Summary) making(now time.Time) bool {
	over := s.manifest != "" && !s.Scheduled
	return !over && !s.Complete && now.Sub(s.Time) < Making
}

// Remove removes whole sets, and then the data that no other snapshot needs. What makes a set whole goes first, its
// manifest or its receipts: one that is removed in part is never chosen, and no receipt is left to be taken for another's.
func (r *Repository) Remove(ctx context.Context, sets []Summary, p plan.Progress) error {
	var proofs, others []string
	for _, s := range sets {
		if s.manifest != "" && !s.Scheduled {
			proofs = append(proofs, s.manifest)
		}
		proofs, others = append(proofs, s.receipts...), append(others, s.snapshots...)
	}
	slices.Sort(proofs)
	for _, ids := range [][]string{slices.Compact(proofs), others} {
		if len(ids) == 0 {
			continue
		}
		p.Waiting("restic forgets " + strings.Join(short(ids), ", "))
		if _, err := r.run(ctx, call{locks: true, args: append([]string{"forget", "--json"}, ids...)}); err != nil {
			return err
		}
	}
	_, err := r.Free(ctx, p)
	return err
}

// pruned is what restic prune tells of the size of the data that it removed.
var pruned = regexp.MustCompile(`(?m)^total prune: .* / (.*)$`)

// Free removes the data that no snapshot needs, and the manifests of schedules that are over, also what a run left that was
// cut off between both. It takes away the locks of runs that are surely dead, and says whether there was something to remove.
func (r *Repository) Free(ctx context.Context, p plan.Progress) (freed bool, err error) {
	some, err := r.removeSchedules(ctx, p)
	if err != nil {
		return some, err
	}
	p.Waiting("restic removes the data that nothing needs any more")
	said, err := r.run(ctx, call{locks: true, args: []string{"prune"}})
	if err != nil {
		return some, err
	}
	size := pruned.FindSubmatch(said)
	if size != nil && string(size[1]) == "0 B" {
		return some, nil
	}
	if size != nil {
		p.Note(fmt.Sprintf("%s freed", size[1]))
	}
	return true, nil
}

func short(ids []string) []string {
	var out []string
	for _, id := range ids {
		out = append(out, id[:min(8, len(id))])
	}
	return out
}
