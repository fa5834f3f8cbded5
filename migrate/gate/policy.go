package gate

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

const (
	group = "admissionregistration.k8s.io"

	mutating   = "MutatingAdmissionPolicy"
	validating = "ValidatingAdmissionPolicy"
)

// What the policies say in CEL.
const (
	// isNoMover lets the pods pass that bring the data.
	isNoMover = `object.metadata.?labels[?'` + MoverMark + `'].orValue('') != 'true'`
	// mountsWaiting matches pods that mount a claim of which the ConfigMap says that it waits.
	mountsWaiting = `object.spec.?volumes.orValue([]).exists(v, has(v.persistentVolumeClaim) && ` +
		`params.?data[?(request.namespace + '.' + v.persistentVolumeClaim.claimName)].orValue('') == '` + stateWait + `')`
	// addGate holds a pod back.
	addGate = `Object{spec: Object.spec{schedulingGates: [Object.spec.schedulingGates{name: "` + PodGate + `"}]}}`
	// refusal is told to whoever makes the pod, where it can not be held back.
	refusal = "a claim of this pod waits for its data, which rekindle rebuild restores: the pod is let in after that (gate " + Name + ")"
)

// choose finds out which kind of policy the server has.
func (g *Gate) choose() error {
	if g.refuses {
		return nil
	}
	_, err := g.version(mutating)
	if meta.IsNoMatchError(err) {
		g.refuses = true
		return nil
	}
	return err
}

// kind is that of the policy.
func (g *Gate) kind() string {
	if g.refuses {
		return validating
	}
	return mutating
}

// version is the newest that the server has of a kind of policy.
func (g *Gate) version(kind string) (schema.GroupVersionKind, error) {
	var none error
	for _, version := range []string{"v1", "v1beta1"} {
		mapping, err := g.client.Mapper().RESTMapping(schema.GroupKind{Group: group, Kind: kind}, version)
		switch {
		case err == nil:
			return mapping.GroupVersionKind, nil
		case !meta.IsNoMatchError(err):
			return schema.GroupVersionKind{}, err
		}
		none = errors.Join(none, err)
	}
	return schema.GroupVersionKind{}, &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: group, Kind: kind}, SearchedVersions: []string{"v1", "v1beta1"}}
}

// refs names everything that a gate can consist of, in the order in which it goes.
func (g *Gate) refs() []kube.Ref {
	var refs []kube.Ref
	for _, suffix := range []string{"Binding", ""} {
		for _, kind := range []string{mutating, validating} {
			refs = append(refs, kube.Ref{Group: group, Kind: kind + suffix, Name: Name})
		}
	}
	return append(refs, settingsRef())
}

// policy makes the policy and its binding.
func (g *Gate) policy() (policy, binding *unstructured.Unstructured, err error) {
	gvk, err := g.version(g.kind())
	if err != nil {
		return nil, nil, fmt.Errorf("this API server has no admission policies that a gate could be made of: %w", err)
	}
	spec := map[string]any{
		"failurePolicy": "Fail",
		"paramKind":     map[string]any{"apiVersion": "v1", "kind": "ConfigMap"},
		"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
			"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "operations": []any{"CREATE"}, "resources": []any{"pods"},
		}}},
		"matchConditions": []any{
			map[string]any{"name": "is-no-mover", "expression": isNoMover},
			map[string]any{"name": "mounts-a-waiting-claim", "expression": mountsWaiting},
		},
	}
	bound := map[string]any{
		"policyName": Name,
		"paramRef":   map[string]any{"name": Name, "namespace": Namespace, "parameterNotFoundAction": "Deny"},
	}
	if g.refuses {
		spec["validations"] = []any{map[string]any{"expression": "false", "message": refusal}}
		bound["validationActions"] = []any{"Deny"}
	} else {
		spec["reinvocationPolicy"] = "IfNeeded" // a webhook may have added a volume
		spec["mutations"] = []any{map[string]any{
			"patchType": "ApplyConfiguration", "applyConfiguration": map[string]any{"expression": addGate},
		}}
	}
	policy, binding = object(kube.NewRef(gvk, "", Name)), object(kube.NewRef(gvk, "", Name))
	binding.SetKind(gvk.Kind + "Binding")
	policy.Object["spec"], binding.Object["spec"] = spec, bound
	return policy, binding, nil
}
