package helm

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// withoutEnded leaves out Jobs that were made, have ended and are gone: one that is missing would be made again, and run again.
func withoutEnded(ctx context.Context, c *kube.Client, objs []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	var there []*unstructured.Unstructured
	for _, obj := range objs {
		if kube.GoesByItself(obj) {
			live, err := c.Get(ctx, kube.RefOf(obj))
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", kube.RefOf(obj), err)
			}
			if live == nil {
				continue
			}
		}
		there = append(there, obj)
	}
	return there, nil
}
