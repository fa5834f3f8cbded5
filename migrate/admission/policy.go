// Package admission keeps an admission policy of ours in an API server: written, proven to be followed, taken away.
//
// It is what the gate and the fence are made of. A policy has no parameter object: an API server that has stopped
// watching a kind of parameters, because the last policy with such went away, does not watch it again until it is
// restarted (1.37). What a policy is about is written into it.
package admission

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
)

// Group is the API group of admission policies.
const Group = "admissionregistration.k8s.io"

// Kinds of policies.
const (
	Mutating   = "MutatingAdmissionPolicy"
	Validating = "ValidatingAdmissionPolicy"
)

// How it is proven that the server follows a change.
const (
	proofTime = 30 * time.Second
	proofLook = 250 * time.Millisecond
)

// Version is the newest that the server has of a kind of policy. The error tells by meta.IsNoMatchError that it has none.
func Version(c *kube.Client, kind string) (schema.GroupVersionKind, error) {
	mapping, err := c.Mapper().RESTMapping(schema.GroupKind{Group: Group, Kind: kind}, "v1", "v1beta1")
	if err != nil {
		return schema.GroupVersionKind{}, err
	}
	return mapping.GroupVersionKind, nil
}

// Policy makes a policy of ours.
func Policy(gvk schema.GroupVersionKind, name string, spec map[string]any, annotations map[string]string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	obj.SetGroupVersionKind(gvk)
	obj.SetName(name)
	obj.SetLabels(map[string]string{providers.LabelOwner: providers.Owner})
	obj.SetAnnotations(annotations)
	return obj
}

// Binding makes the policy of that kind and name count, everywhere.
func Binding(gvk schema.GroupVersionKind, name string) *unstructured.Unstructured {
	spec := map[string]any{"policyName": name}
	if gvk.Kind == Validating {
		spec["validationActions"] = []any{"Deny"}
	}
	return Policy(gvk.GroupVersion().WithKind(gvk.Kind+"Binding"), name, spec, nil)
}

// Refs names everything that a policy of a name can consist of, in the order in which it goes.
func Refs(name string) []kube.Ref {
	var refs []kube.Ref
	for _, suffix := range []string{"Binding", ""} {
		for _, kind := range []string{Mutating, Validating} {
			refs = append(refs, kube.Ref{Group: Group, Kind: kind + suffix, Name: name})
		}
	}
	return refs
}

// Find gives the policy of a name, if it is ours; nil when there is none.
func Find(ctx context.Context, c *kube.Client, name string) (*unstructured.Unstructured, error) {
	for _, kind := range []string{Mutating, Validating} {
		policy, err := c.Get(ctx, kube.Ref{Group: Group, Kind: kind, Name: name})
		if err != nil || policy != nil && Ours(policy) {
			return policy, err
		}
	}
	return nil, nil
}

// Ours tells what rekindle made.
func Ours(obj *unstructured.Unstructured) bool {
	return obj.GetLabels()[providers.LabelOwner] == providers.Owner
}

// Strangers gives a fault for each object of a policy's name that rekindle did not make. what needs the name.
func Strangers(ctx context.Context, c *kube.Client, name, what string) error {
	var errs []error
	for _, ref := range Refs(name) {
		obj, err := c.Get(ctx, ref)
		if err != nil {
			return err
		}
		if obj != nil && !Ours(obj) {
			errs = append(errs, fault.New(fault.Refused, "exists and was not made by rekindle").On("%s", ref).
				WithHint("the %s needs this name: rename or remove that object", what))
		}
	}
	return fault.Join(errs...)
}

// Apply writes those objects of a policy that differ, and says whether there were any.
func Apply(ctx context.Context, c *kube.Client, objs ...*unstructured.Unstructured) (changed bool, err error) {
	for _, obj := range objs { // the binding after its policy
		changes, err := c.Apply(ctx, []*unstructured.Unstructured{obj}, kube.ApplyOptions{Manager: kube.Manager, Force: true})
		if err != nil {
			return changed, err
		}
		changed = changed || slices.ContainsFunc(changes, func(c kube.Change) bool { return c.Action != kube.Unchanged })
	}
	return changed, nil
}

// Remove deletes what there is of ours of a policy, and says whether there was any.
func Remove(ctx context.Context, c *kube.Client, name string, p plan.Progress) (removed bool, err error) {
	for _, ref := range Refs(name) {
		obj, err := c.Get(ctx, ref)
		if err != nil {
			return removed, err
		}
		if obj == nil || !Ours(obj) {
			continue
		}
		removed = true
		if err := c.Delete(ctx, []kube.Ref{ref}, p); err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// Prove waits until the server follows the newest change of a policy. holds asks it by a dry run whether the policy holds
// what only its newest state does; the detail says why that cannot be known.
func Prove(ctx context.Context, what string, want bool, holds func(ctx context.Context) (held bool, detail string), p plan.Progress) error {
	text := fmt.Sprintf("the %s holds", what)
	if !want {
		text = fmt.Sprintf("the %s is away", what)
	}
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	condition := wait.Func(text, func(ctx context.Context) (bool, string, error) {
		held, detail := holds(ctx)
		return detail == "" && held == want, detail, nil
	})
	if err := wait.Poll(ctx, condition, proofLook, p); err != nil {
		return fault.Wrap(err, fault.Failed, "the API server does not follow its admission policies").On("%s", what).Transient()
	}
	return nil
}

// List is a list of names in CEL: names of Kubernetes have no character that it would read otherwise.
func List(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = "'" + name + "'"
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
