package bootstrap

import (
	"context"
	"time"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Overdue is what status finds of the age of the newest set.
var Overdue = overdue

// Newest is what status tells of the newest set.
func (j *Job) Newest(ctx context.Context, p plan.Progress) (begun time.Time, known bool) {
	return j.newest(ctx, p)
}
