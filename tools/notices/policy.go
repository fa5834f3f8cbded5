package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// enough is how much of a text, in percent of its words, has to be a known licence. The rest is names, years and headings.
const enough = 75

// taken are the licences that a dependency may have: they ask for no more than to be passed on, and those of MPL besides for the
// source of the files that they cover.
func taken() []string {
	return []string{
		"Apache-2.0", "MIT", "MIT-0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "MPL-2.0", "CC0-1.0", "Unlicense", "Zlib", "BSL-1.0",
	}
}

// licencesOf judges a dependency by its texts. It gives the licences that hold for its linked packages, sorted, and what is
// against them.
func licencesOf(d dependency) (ids []string, faults []error) {
	ofAll := false // there is a licence of the whole module
	for _, t := range d.texts {
		if !t.licence {
			continue
		}
		ofAll = ofAll || !strings.Contains(t.name, "/")
		found, err := judge(t)
		ids = append(ids, found...)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %s: %w", d, t.name, err))
		}
	}
	if !ofAll {
		faults = append(faults, fmt.Errorf("%s: there is no licence in %s", d, d.dir))
	}
	slices.Sort(ids)
	return slices.Compact(ids), faults
}

// judge names the licences of one text, and says why it is not taken.
func judge(t text) (ids []string, err error) {
	coverage := licensecheck.Scan([]byte(t.content))
	var refused []string
	for _, match := range coverage.Match {
		ids = append(ids, match.ID)
		if !slices.Contains(taken(), match.ID) {
			refused = append(refused, match.ID)
		}
	}
	switch {
	case len(refused) > 0:
		return ids, fmt.Errorf("licence %s is not among those that are taken", strings.Join(refused, ", "))
	case coverage.Percent < enough:
		return ids, fmt.Errorf("only %.0f %% of it is a licence that is known", coverage.Percent)
	}
	return ids, nil
}
