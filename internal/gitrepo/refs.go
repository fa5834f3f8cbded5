package gitrepo

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// mostNames is how many names of a repository a fault lists.
const mostNames = 8

// checkCommit refuses what is not a full SHA-1: an abbreviated one cannot be asked for.
func checkCommit(r Remote) error {
	if plumbing.IsHash(r.Ref.Commit) && len(r.Ref.Commit) == 40 {
		return nil
	}
	return fault.New(fault.Usage, "%q is not a full commit id of 40 hexadecimal digits", r.Ref.Commit).On("Git repository %s", r.name()).
		WithHint("run git rev-parse %s to get it", r.Ref.Commit)
}

// pick finds the wanted ref among those that the repository has; a tag that is an object of its own
// stands for the commit it points to.
func pick(refs *packp.AdvRefs, r Remote) (plumbing.Hash, error) {
	switch {
	case r.Ref.Tag != "":
		return named(refs, r, "refs/tags/", r.Ref.Tag, "tags")
	case r.Ref.Branch != "":
		return named(refs, r, "refs/heads/", r.Ref.Branch, "branches")
	case refs.Head != nil:
		return *refs.Head, nil
	}
	return plumbing.ZeroHash, fault.New(fault.Usage, "has no default branch").On("Git repository %s", r.name()).
		WithHint("name one in spec.source.ref, or push a first commit")
}

// tagOf is the id of the wanted tag where that is an object of its own, else empty.
func tagOf(refs *packp.AdvRefs, r Remote) string {
	name := "refs/tags/" + r.Ref.Tag
	if _, peeled := refs.Peeled[name]; !peeled || r.Ref.Tag == "" || r.Ref.Commit != "" {
		return ""
	}
	return refs.References[name].String()
}

func named(refs *packp.AdvRefs, r Remote, prefix, name, plural string) (plumbing.Hash, error) {
	full := prefix + name
	if h, ok := refs.Peeled[full]; ok {
		return h, nil
	}
	if h, ok := refs.References[full]; ok {
		return h, nil
	}
	var have []string
	for ref := range refs.References {
		if short, ok := strings.CutPrefix(ref, prefix); ok {
			have = append(have, short)
		}
	}
	e := fault.New(fault.Usage, "has no %s", RefName(r.Ref)).On("Git repository %s", r.name())
	if len(have) == 0 {
		return plumbing.ZeroHash, e.WithHint("it has no %s at all: push one, or correct spec.source.ref", plural)
	}
	return plumbing.ZeroHash, e.WithHint("correct spec.source.ref; its %s are %s", plural, nearest(have, name))
}

// nearest lists the names most like the wanted one, the best first.
func nearest(have []string, want string) string {
	distance := make(map[string]int, len(have))
	for _, h := range have {
		distance[h] = editDistance(h, want)
	}
	names := slices.Sorted(maps.Keys(distance))
	slices.SortStableFunc(names, func(a, b string) int { return distance[a] - distance[b] })
	if len(names) > mostNames {
		names = append(names[:mostNames], "…")
	}
	return strings.Join(names, ", ")
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// tip is what to ask for to get a commit: itself, or a tag that stands for it where no ref points to it. It tells whether every
// server hands that out on its own.
func tip(refs *packp.AdvRefs, commit plumbing.Hash) (wanted plumbing.Hash, ok bool) {
	if refs.Head != nil && *refs.Head == commit {
		return commit, true
	}
	wanted = commit
	for name, h := range refs.References {
		switch peeled := refs.Peeled[name]; {
		case h == commit && peeled.IsZero():
			return commit, true
		case peeled == commit:
			wanted, ok = h, true
		}
	}
	return wanted, ok
}
