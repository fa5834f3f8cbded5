package kube

import (
	"context"
	"time"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// ReportedBy is Reported with another age than that of the product, which a test would have to sit out.
func (w *Watcher) ReportedBy(ctx context.Context, refs []Ref, age time.Duration, p plan.Progress) ([]Ref, error) {
	return w.reportedBy(ctx, refs, age, p)
}

// AwaitReportsBy is AwaitReports with another age.
func (w *Watcher) AwaitReportsBy(ctx context.Context, refs []Ref, age time.Duration, p plan.Progress) error {
	return w.awaitReportsBy(ctx, refs, age, p)
}

// BelieveRefusalsAfter has a client wait less than a test would have to sit out.
func (c *Client) BelieveRefusalsAfter(patience time.Duration) { c.grants.patience = patience }
