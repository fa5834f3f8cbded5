package stacks

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// Foresee tells what Ensure would do, and changes nothing.
func (r *Release) Foresee(ctx context.Context, c *kube.Client, w *kube.Watcher) (plan.Forecast, error) {
	s, err := helm.Look(ctx, c, w, r.wanted())
	switch {
	case err != nil:
		return plan.Forecast{}, err
	case !s.Exists:
		return plan.Forecast{Effect: plan.Create, Changes: []string{"install chart version " + r.chart.Version()}}, nil
	case !s.Ours:
		return plan.Forecast{}, fault.New(fault.Refused, "it was not made by rekindle").On("release %s", r.Name).
			WithHint("take it out of the stack, or remove it yourself: helm uninstall -n %s %s", r.Namespace, r.Name)
	case s.AsWanted():
		return plan.Forecast{Effect: plan.None}, nil
	}
	changes := r.remade(s)
	for _, d := range s.Different {
		changes = append(changes, d.Foreseen())
	}
	if !s.Same {
		changes = append(changes, r.renewed(ctx, c, s)...)
	}
	return plan.Forecast{Effect: plan.Change, Changes: changes}, nil
}

// remade says why the release gets another revision, where it is not for its objects alone.
func (r *Release) remade(s *helm.State) []string {
	var why []string
	if !s.Deployed {
		why = append(why, fmt.Sprintf("apply it again: revision %d is %s", s.Revision, s.Status))
	}
	if s.Same {
		return why
	}
	if s.Chart != "" && s.Chart != r.chart.Version() {
		why = append(why, fmt.Sprintf("upgrade from chart version %s to %s", s.Chart, r.chart.Version()))
	}
	if paths := differing(asJSON(r.values), asJSON(s.Values), nil); len(paths) > 0 {
		why = append(why, "other values: "+strings.Join(paths, ", "))
	}
	switch {
	case s.ByHand:
		why = append(why, fmt.Sprintf("revision %d was made by hand", s.Revision))
	case len(why) == 0:
		why = append(why, fmt.Sprintf("chart version %s has other content", r.chart.Version()))
	}
	return why
}

// renewed tells in what the objects of the cluster are not those that the chart renders to now. What cannot be compared
// before the upgrade, as an object of a kind that it brings, is not told: why there is an upgrade is known all the same.
func (r *Release) renewed(ctx context.Context, c *kube.Client, s *helm.State) []string {
	objs := make([]*unstructured.Unstructured, len(r.rendered))
	wanted := map[kube.Ref]bool{}
	for i, obj := range r.rendered {
		objs[i] = obj.DeepCopy()
	}
	if c.Place(objs, r.Namespace) != nil {
		return nil
	}
	different, err := c.Compare(ctx, objs)
	if err != nil {
		return nil
	}
	var changes []string
	for _, d := range different {
		changes = append(changes, d.Foreseen())
	}
	for _, obj := range objs {
		wanted[kube.RefOf(obj).Unversioned()] = true
	}
	for _, crd := range r.brought { // it stays, whoever brought it before
		wanted[crd.Unversioned()] = true
	}
	for _, obj := range s.Objects {
		if ref := kube.RefOf(obj); !wanted[ref.Unversioned()] && !helm.Keeps(obj) {
			changes = append(changes, "remove "+ref.String())
		}
	}
	return changes
}

// asJSON is a value as JSON gives it back, so that what was kept and what was read can be compared.
func asJSON(values map[string]any) any {
	var plain map[string]any
	raw, err := json.Marshal(values)
	if err != nil || json.Unmarshal(raw, &plain) != nil || plain == nil {
		return map[string]any{}
	}
	return plain
}

// differing gives the paths at which two values differ, sorted. It tells no value: it may be a secret.
func differing(a, b any, path []string) []string {
	am, isMap := a.(map[string]any)
	bm, isToo := b.(map[string]any)
	if !isMap || !isToo {
		if reflect.DeepEqual(a, b) {
			return nil
		}
		return []string{strings.Join(path, ".")}
	}
	keys := map[string]bool{}
	for key := range am {
		keys[key] = true
	}
	for key := range bm {
		keys[key] = true
	}
	var all []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		all = append(all, differing(am[key], bm[key], append(slices.Clip(path), key))...)
	}
	return all
}
