package migrate

import (
	"context"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/state/volumes"
	"github.com/rekindle-dev/rekindle/migrate/fence"
	"github.com/rekindle-dev/rekindle/migrate/gate"
)

// isWhole refuses to take a cluster whose claims have data of no single moment, or none yet: as the newest complete set it
// would be what a rebuild brings back, in place of the set that has everything. A handover knows by its record that its giver
// has all of it, whatever still holds that back.
func (s *Snapshot) isWhole(ctx context.Context, found []volumes.Volume) error {
	var errs []error
	for i := range found {
		v := &found[i]
		if set := v.Annotations[marks.Restoring]; set != "" && v.Taken() {
			errs = append(errs, fault.New(fault.Refused, "only a part of its data in the set %s was restored", set).On("claim %s", v).
				WithHint("finish the rebuild or the migration that began it; or, when its data is right as it is: kubectl annotate -n %s pvc %s %s-", v.Namespace, v.Name, marks.Restoring))
		}
	}
	if len(errs) > 0 || s.standing != nil {
		return fault.Join(errs...)
	}
	gated, err := gate.Find(ctx, s.job.Client())
	if err != nil {
		return err
	}
	if gated != nil && len(gated.Waiting) > 0 {
		return fault.New(fault.Refused, "waiting for data: %s, such as %s", plan.Count(len(gated.Waiting), "claim"), gated.Waiting[0]).On("cluster %s", s.job.Name()).
			WithHint("%s", gate.Finish(gated.Set))
	}
	fenced, err := fence.Find(ctx, s.job.Client())
	if err != nil {
		return err
	}
	if fenced != nil && fenced.Rules.Claims {
		return fault.New(fault.Refused, "is fenced by the migration %s: its data may be outdated, or come in part from %s", fenced.Migration, fenced.Other).
			On("cluster %s", s.job.Name()).
			WithHint("take a snapshot of %s, which writes; or finish the migration: rekindle migrate status shows how far it is", fenced.Other)
	}
	return nil
}
