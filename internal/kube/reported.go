package kube

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// silence is how long a custom resource whose kind has conditions may stay without one. Controllers write
// the first within a second or two of running; some (Istio's, by default) never do, and kstatus takes
// an object without conditions for ready, also in the moment before its controller looks at it.
const silence = 20 * time.Second

// PromisesConditions says whether the objects of a CRD have a status with conditions for a controller to write.
func PromisesConditions(crd *unstructured.Unstructured) (schema.GroupKind, bool) {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, v := range versions {
		version, _ := v.(map[string]any)
		_, subresource, _ := unstructured.NestedFieldNoCopy(version, "subresources", "status")
		_, conditions, _ := unstructured.NestedFieldNoCopy(version,
			"schema", "openAPIV3Schema", "properties", "status", "properties", "conditions")
		if subresource && conditions {
			return schema.GroupKind{Group: group, Kind: kind}, true
		}
	}
	return schema.GroupKind{}, false
}

// Reported waits until the controllers of objects, which exist, have written a first condition, for at most 20 s of an
// object's age: then it gives those that nobody reports of.
func (w *Watcher) Reported(ctx context.Context, refs []Ref, p plan.Progress) (silent []Ref, err error) {
	return w.reportedBy(ctx, refs, silence, p)
}

// reportedBy is Reported with another age.
func (w *Watcher) reportedBy(ctx context.Context, refs []Ref, age time.Duration, p plan.Progress) (silent []Ref, err error) {
	began := time.Now()
	for _, ref := range refs {
		obj, err := w.client.Get(ctx, ref)
		if err != nil {
			return nil, fault.Wrap(err, fault.Failed, "read").On("%s", ref)
		}
		if reportHealth(obj).Ready {
			continue
		}
		within, cancel := context.WithTimeout(ctx, max(0, age-w.client.ageOf(obj, began)))
		err = w.Until(within, ref, "reported by its controller", reportHealth, p)
		cancel()
		switch {
		case err == nil:
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			silent = append(silent, ref)
		default:
			return nil, err
		}
	}
	return silent, nil
}

// ageOf is how old an object at least is that was there at a time of ours: as its server says, who wrote when it was
// made, or else as long as we have known of it.
func (c *Client) ageOf(obj *unstructured.Unstructured, seen time.Time) time.Duration {
	if obj == nil {
		return 0
	}
	if age, known := c.clock.age(obj.GetCreationTimestamp().Time); known {
		return max(0, age)
	}
	return time.Since(seen)
}

func reportHealth(obj *unstructured.Unstructured) Health {
	if obj == nil {
		return Health{Message: "does not exist yet"}
	}
	if len(conditions(obj)) == 0 {
		return Health{Message: "not yet seen by its controller"}
	}
	return Health{Ready: true}
}

// customHealth is kstatus, and what it leaves out of the conditions of a custom resource: one that is
// of an older generation, and Available where there is no Ready.
func customHealth(obj *unstructured.Unstructured) Health {
	h := statusHealth(obj)
	if !h.Ready {
		return h
	}
	for _, name := range []string{"Ready", "Available"} {
		c := condition(obj, name)
		if c == nil {
			continue
		}
		if observed, ok := c["observedGeneration"].(int64); ok && observed < obj.GetGeneration() {
			return Health{Message: "not yet seen by its controller since it was changed"}
		}
		return conditionHealth(obj, name)
	}
	return h
}
