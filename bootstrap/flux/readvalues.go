package flux

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// readValues has a Kustomization or HelmRelease that takes values from ConfigMaps and Secrets read them once more, where it may not have
// since they changed: Flux does not watch them, and reconciles what one commit changes in no order. What was asked is ready with the answer
// only. The request is the time of the change and not that of the asking, so that nobody asks twice.
func (pr *proof) readValues(ctx context.Context, ref kube.Ref) error {
	obj, err := pr.client.Get(ctx, ref)
	if err != nil || obj == nil {
		return err
	}
	changed, err := pr.valuesChanged(ctx, obj)
	if err != nil || changed.IsZero() {
		return err
	}
	since := changed.UTC().Add(time.Second) // the API server cuts fractions off
	isSince := func(request string) bool {
		at, err := time.Parse(time.RFC3339Nano, request)
		return err == nil && !at.Before(since)
	}
	switch {
	case isSince(handled(obj)):
		return nil
	case isSince(pr.asked[ref]):
		pr.awaited[ref] = toRead
		return nil
	}
	request := since.Format(time.RFC3339Nano)
	pr.asked[ref], pr.awaited[ref] = request, toRead
	if obj.GetAnnotations()[requestedAt] == request {
		return nil
	}
	return annotate(ctx, pr.client, ref, request, requestedAt)
}

// valuesChanged is when the last of the values that an object takes from ConfigMaps and Secrets changed; zero when none did since they
// were made: before that, none could be read.
func (pr *proof) valuesChanged(ctx context.Context, obj *unstructured.Unstructured) (last time.Time, err error) {
	for _, from := range valuesFrom(obj) {
		values, err := pr.client.Get(ctx, from.ref)
		if err != nil {
			return last, err
		}
		if values == nil {
			continue
		}
		changed := kube.ChangedAt(values)
		if (from.optional || changed.After(values.GetCreationTimestamp().Time)) && changed.After(last) {
			last = changed
		}
	}
	return last, nil
}

// values is a ConfigMap or Secret from which an object of Flux takes values. It can do without an optional one.
type values struct {
	ref      kube.Ref
	optional bool
}

// valuesFrom are those of a Kustomization and of a HelmRelease.
func valuesFrom(obj *unstructured.Unstructured) []values {
	substitutes, _, _ := unstructured.NestedSlice(obj.Object, "spec", "postBuild", "substituteFrom")
	helm, _, _ := unstructured.NestedSlice(obj.Object, "spec", "valuesFrom")
	var list []values
	for _, entry := range append(substitutes, helm...) {
		fields, _ := entry.(map[string]any)
		from := values{ref: kube.Ref{Version: "v1", Namespace: obj.GetNamespace()}}
		from.ref.Kind, _ = fields["kind"].(string)
		from.ref.Name, _ = fields["name"].(string)
		from.optional, _ = fields["optional"].(bool)
		list = append(list, from)
	}
	return list
}

const toRead = "is to read its values once more"

// read is a judge that takes nothing for ready that has not done what it was asked for.
func (pr *proof) read(ref kube.Ref, judge kube.Judge) kube.Judge {
	return func(obj *unstructured.Unstructured) kube.Health {
		h := judge(obj)
		if what := pr.awaited[ref]; h.Ready && obj != nil && what != "" && handled(obj) != pr.asked[ref] {
			return kube.Health{Message: what}
		}
		return h
	}
}
