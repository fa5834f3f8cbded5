package flux

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// Applied is the commit that Flux applied last, empty when it has applied none.
func (f *Flux) Applied(ctx context.Context, c *kube.Client) (commit string, err error) {
	return f.revision(ctx, c, "lastAppliedRevision")
}

// Attempted is the commit that Flux tried last, also when what it applied is not healthy; empty when it has tried none.
func (f *Flux) Attempted(ctx context.Context, c *kube.Client) (commit string, err error) {
	return f.revision(ctx, c, "lastAttemptedRevision")
}

func (f *Flux) revision(ctx context.Context, c *kube.Client, field string) (commit string, err error) {
	obj, err := c.Get(ctx, f.kustomizationRef())
	if err != nil || obj == nil {
		return "", err
	}
	revision, _, _ := unstructured.NestedString(obj.Object, "status", field)
	return revision[strings.LastIndexByte(revision, ':')+1:], nil // main@sha1:COMMIT
}
