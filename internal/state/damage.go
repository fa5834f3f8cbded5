package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// mostPacks is for how many damaged files of the repository it is looked up what is in them: each costs a look at
// every folder of the set.
const mostPacks = 50

// damagedPack is how restic check names one, and where its id is.
const damagedPack = `pack ([0-9a-f]{64})`

// damage says what a check of a part of the data that failed means for a set: which of its claims cannot be restored whole.
func (r *Repository) damage(ctx context.Context, m *Manifest, part string, failed error) error {
	var exit *exitError
	if failed == nil || !errors.As(failed, &exit) || exit.code != 1 {
		return failed
	}
	if strings.Contains(exit.text, "--read-data-subset") { // restic looks at it before it reads anything
		return fault.New(fault.Usage, "%q is no part of the data that can be read", part).
			WithHint("give a percentage like 5%%, n/t like 1/10, or a size like 10G")
	}
	hint := "restic check shows more, restic repair saves what can be saved; choose another set until then"
	packs := damagedPacks(exit.said)
	if len(packs) == 0 {
		return fault.Wrap(failed, fault.Failed, "does not give back what was written").On("set %s", m.ID).WithHint("%s", hint)
	}
	var errs []error
	for _, c := range m.Claims {
		if c.Snapshot == "" {
			continue
		}
		files, err := r.filesIn(ctx, c.Snapshot, packs)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			errs = append(errs, r.on(fault.Wrap(err, fault.Failed, "claim %s/%s of the set %s cannot be restored completely: its list of files cannot be read",
				c.Namespace, c.Name, m.ID).WithHint("%s", hint)))
		case len(files) > 0:
			errs = append(errs, r.on(fault.New(fault.Failed, "claim %s/%s of the set %s cannot be restored completely: %s damaged or lost, such as %s",
				c.Namespace, c.Name, m.ID, plan.Count(len(files), "file"), files[0]).WithHint("%s", hint)))
		}
	}
	if len(errs) > 0 {
		return fault.Join(errs...)
	}
	return r.on(fault.New(fault.Failed, "has damaged or lost files, such as %.8s in data; no volume of the set %s is known to be affected", packs[0], m.ID).WithHint("%s", hint))
}

// damagedPacks are the files of the repository that a check names.
func damagedPacks(said []byte) []string {
	var packs []string
	for _, match := range regexp.MustCompile(damagedPack).FindAllSubmatch(said, -1) {
		if id := string(match[1]); !slices.Contains(packs, id) && len(packs) < mostPacks {
			packs = append(packs, id)
		}
	}
	return packs
}

// filesIn finds the files and folders of a snapshot that have a part in one of the packs.
func (r *Repository) filesIn(ctx context.Context, snapshot string, packs []string) ([]string, error) {
	raw, err := r.once(ctx, call{args: append([]string{"find", "--json", "--no-lock", "--snapshot", snapshot, "--pack"}, packs...)})
	if err != nil {
		return nil, err
	}
	var found []struct {
		Path string `json:"path"`
	}
	if err := json.Unmarshal(raw, &found); err != nil {
		return nil, fmt.Errorf("restic find: %w", err)
	}
	var files []string
	for _, f := range found {
		files = append(files, f.Path)
	}
	slices.Sort(files)
	return slices.Compact(files), nil // of a file there may be many parts
}
