package migrate

import (
	"slices"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/state"
)

// TestDataThatIsInNoSetAnyMoreIsNamed: a cluster that was lost and made anew has empty volumes, or none, and a few of its sets later
// there is no other left.
func TestDataThatIsInNoSetAnyMoreIsNamed(t *testing.T) {
	before := &state.Summary{ID: "before"}
	for _, claim := range []string{"shop/again", "shop/waits", "shop/left", "shop/gone"} {
		before.Claims = append(before.Claims, state.ClaimSummary{Claim: claim, Snapshot: "a"})
	}
	set := state.Manifest{Claims: []state.Claim{
		{Namespace: "shop", Name: "again", Snapshot: "b"}, {Namespace: "shop", Name: "waits", Skipped: "it is Pending"}, {Namespace: "shop", Name: "new", Snapshot: "c"},
		{Namespace: "shop", Name: "left", Skipped: "annotation", Annotations: map[string]string{marks.Snapshot: "skip"}},
	}}
	if got, want := (&Snapshot{before: before}).gone(set), []string{"shop/waits", "shop/gone"}; !slices.Equal(got, want) {
		t.Errorf("gone are %v, want %v", got, want)
	}
	if got := (&Snapshot{}).gone(set); len(got) > 0 {
		t.Errorf("without a set before: %v", got)
	}
	set.Pass = true
	if got := (&Snapshot{before: before}).gone(set); len(got) > 0 {
		t.Errorf("of a migration, which tells of its claims itself: %v", got)
	}
}
