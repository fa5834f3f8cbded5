package kube

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func groupResource(group, resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Resource: resource}
}

// Explain says why objects are stuck, one line for each cause: conditions that are not as they
// should be, what their pods and containers say with the last lines of their logs, warnings.
func (c *Client) Explain(ctx context.Context, refs []Ref) []string {
	var lines []string
	for ref, cause := range c.explainEach(ctx, refs) {
		lines = append(lines, ref.String()+": "+cause)
	}
	return lines
}

func (c *Client) explain(ctx context.Context, ref Ref) []string { return nil }
