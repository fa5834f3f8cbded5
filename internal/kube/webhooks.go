package kube

import (
	"context"

	"github.com/rekindle-dev/rekindle/internal/plan"
)

// ProveWebhooks waits until every webhook of the given configurations answers the API server.
func (c *Client) ProveWebhooks(ctx context.Context, configs []Ref, p plan.Progress) error {
	w := c.Watch(ctx)
	defer w.Close()
	return w.Ready(ctx, configs, p)
}
