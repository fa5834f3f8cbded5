package gate

import (
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/migrate/admission"
)

// What the policies say in CEL.
const (
	// isNoMover lets the pods pass that bring the data.
	isNoMover = `object.metadata.?labels[?'` + marks.Mover + `'].orValue('') != 'true'`
	// addGate holds a pod back.
	addGate = `Object{spec: Object.spec{schedulingGates: [Object.spec.schedulingGates{name: "` + marks.StateGate + `"}]}}`
	// refusal is told to whoever makes the pod, where it cannot be held back.
	refusal = "a claim of this pod waits for its data, which rekindle rebuild restores: the pod is let in after that (gate " + Name + ")"
)

// choose finds out which kind of policy the server has.
func (g *Gate) choose() (err error) {
	if !g.refuses {
		g.gvk, err = admission.Version(g.client, admission.Mutating)
		g.refuses = meta.IsNoMatchError(err)
	}
	if g.refuses {
		g.gvk, err = admission.Version(g.client, admission.Validating)
	}
	if meta.IsNoMatchError(err) {
		return fault.Wrap(err, fault.Refused, "this API server has no admission policies that a gate could be made of").On("gate").
			WithHint("Kubernetes has them from 1.30 on")
	}
	return err
}

// mountsOne matches pods that mount one of the claims.
func mountsOne(claims []Claim) string {
	names := make([]string, len(claims))
	for i, c := range claims {
		names[i] = "'" + c.String() + "'" // names of Kubernetes have no character that CEL would read otherwise
	}
	return `object.spec.?volumes.orValue([]).exists(v, has(v.persistentVolumeClaim) && ` +
		`request.namespace + '/' + v.persistentVolumeClaim.claimName in [` + strings.Join(names, ", ") + `])`
}

// policyRef names the policy itself.
func (g *Gate) policyRef() kube.Ref { return kube.NewRef(g.gvk, "", Name) }

// policy makes the policy that holds back the pods of these claims.
func (g *Gate) policy(claims []Claim) (*unstructured.Unstructured, error) {
	list, err := json.Marshal(claims)
	if err != nil {
		return nil, err
	}
	spec := map[string]any{
		"failurePolicy": "Fail",
		"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
			"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "operations": []any{"CREATE"}, "resources": []any{"pods"},
		}}},
		"matchConditions": []any{
			map[string]any{"name": "is-no-mover", "expression": isNoMover},
			map[string]any{"name": "mounts-a-waiting-claim", "expression": mountsOne(claims)},
		},
	}
	if g.refuses {
		spec["validations"] = []any{map[string]any{"expression": "false", "message": refusal}}
	} else {
		spec["reinvocationPolicy"] = "IfNeeded" // a webhook may have added a volume
		spec["mutations"] = []any{map[string]any{
			"patchType": "ApplyConfiguration", "applyConfiguration": map[string]any{"expression": addGate},
		}}
	}
	return admission.Policy(g.gvk, Name, spec, map[string]string{marks.Set: g.set, marks.Waiting: string(list)}), nil
}
