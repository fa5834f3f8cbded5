package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
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

// AwaitReports waits as [Watcher.Reported] does for those objects whose kind promises conditions by its CRD in the cluster,
// and warns, once, of those that nobody reports of. On simulated nodes no controller runs: there it waits for none.
func (w *Watcher) AwaitReports(ctx context.Context, refs []Ref, p plan.Progress) error {
	return w.awaitReportsBy(ctx, refs, silence, p)
}

// awaitReportsBy is AwaitReports with another age.
func (w *Watcher) awaitReportsBy(ctx context.Context, refs []Ref, age time.Duration, p plan.Progress) error {
	if w.client.simulated {
		return nil
	}
	promised, err := w.client.promised(ctx, refs)
	if err != nil {
		return err
	}
	unpromised := func(ref Ref) bool { return !promised[ref.GroupKind()] }
	silent, err := w.reportedBy(ctx, slices.DeleteFunc(slices.Clone(refs), unpromised), age, p)
	news := slices.DeleteFunc(silent, func(ref Ref) bool { return !w.isNews(ref) })
	for i, ref := range news {
		same := func(other Ref) bool { return other.GroupKind() == ref.GroupKind() }
		if slices.IndexFunc(news, same) < i {
			continue
		}
		text := fmt.Sprintf("%s: no controller reports its status, so it counts as applied", ref)
		if more := len(slices.DeleteFunc(slices.Clone(news), func(other Ref) bool { return !same(other) })) - 1; more > 0 {
			text += fmt.Sprintf("; nor of %d more of its kind", more)
		}
		p.Warn(text)
	}
	return err
}

// isNews says whether an object was not warned of before.
func (w *Watcher) isNews(ref Ref) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.warned[ref] {
		return false
	}
	w.warned[ref] = true
	return true
}

// promised are the kinds among those of objects whose CRDs promise conditions.
func (c *Client) promised(ctx context.Context, refs []Ref) (map[schema.GroupKind]bool, error) {
	kinds := map[schema.GroupKind]Ref{}
	for _, ref := range refs {
		if strings.Contains(ref.Group, ".") { // else no CRD can define it
			kinds[ref.GroupKind()] = ref
		}
	}
	list := slices.Collect(maps.Values(kinds))
	promise := make([]bool, len(list))
	err := each(ctx, list, func(ctx context.Context, i int, ref Ref) error {
		mapping, err := c.mapper.RESTMapping(ref.GroupKind())
		if meta.IsNoMatchError(err) {
			return nil
		}
		var crd *unstructured.Unstructured
		if err == nil {
			crd, err = c.Get(ctx, Ref{Group: groupCRD, Version: "v1", Kind: kindCRD, Name: mapping.Resource.GroupResource().String()})
		}
		if err != nil {
			return fault.Wrap(err, fault.Failed, "read how its kind is defined").On("%s", ref)
		}
		if crd != nil {
			_, promise[i] = PromisesConditions(crd)
		}
		return nil
	})
	found := map[schema.GroupKind]bool{}
	for i, ref := range list {
		found[ref.GroupKind()] = promise[i]
	}
	return found, err
}

// Reported waits until the controllers of objects have written a first condition, for at most 20 s of an object's age:
// then it gives those that nobody reports of. All are awaited at once, so many take no longer than the youngest of them.
func (w *Watcher) Reported(ctx context.Context, refs []Ref, p plan.Progress) (silent []Ref, err error) {
	return w.reportedBy(ctx, refs, silence, p)
}

// reportedBy is Reported with another age.
func (w *Watcher) reportedBy(ctx context.Context, refs []Ref, age time.Duration, p plan.Progress) (silent []Ref, err error) {
	began := time.Now()
	left := make([]time.Duration, len(refs)) // of the time of those that are not reported yet
	err = each(ctx, refs, func(ctx context.Context, i int, ref Ref) error {
		obj, err := w.client.Get(ctx, ref)
		if err != nil {
			return fault.Wrap(err, fault.Failed, "read").On("%s", ref)
		}
		left[i] = -1
		if obj != nil && !reportHealth(obj).Ready {
			left[i] = max(0, age-w.client.ageOf(obj, began))
		}
		return nil
	})
	var awaited []Ref
	for i, ref := range refs {
		if left[i] >= 0 {
			awaited = append(awaited, ref)
		}
	}
	if err != nil || len(awaited) == 0 {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, slices.Max(left))
	defer cancel()
	all := newWaiter(w, awaited, "reported by its controller", reportHealth, p)
	err = all.run(within)
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	for _, it := range all.pending() {
		silent = append(silent, it.ref)
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
	if !slices.ContainsFunc(conditions(obj), isReport) {
		return Health{Message: "not yet seen by its controller"}
	}
	return Health{Ready: true}
}

// isReport says whether a condition is a controller's word, and not what a CRD has the server fill in.
func isReport(c map[string]any) bool { return c["status"] != "Unknown" || c["reason"] != "Pending" }
