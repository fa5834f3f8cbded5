package fence

import (
	"fmt"

	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/migrate/admission"
	"github.com/rekindle-dev/rekindle/migrate/outward"
)

// probeRefusal is told to nobody but the proof.
const probeRefusal = "the fence refuses its probe"

// gateProbe begins the names of claims that there are none of: a gate proves by them that it holds (migrate/gate).
const gateProbe = "kube-system/rekindle-gate-probe-"

// What the policy says in CEL.
const (
	isNoMover = `object.metadata.?labels[?'` + marks.Mover + `'].orValue('') != 'true' || request.operation != 'CREATE'`

	claimsOf = `.?volumes.orValue([]).filter(v, has(v.persistentVolumeClaim)).map(v, request.namespace + '/' + v.persistentVolumeClaim.claimName)`

	isPod       = `request.resource.resource == 'pods'`
	isJob       = `request.resource.resource == 'jobs'`
	isWorkload  = `request.resource.resource in ['deployments', 'statefulsets', 'replicasets'] && request.?subResource.orValue('') == ''`
	ofCronJob   = `object.metadata.?ownerReferences.orValue([]).exists(o, o.kind == 'CronJob')`
	hasJobLabel = `has(object.metadata.labels) && ('batch.kubernetes.io/job-name' in object.metadata.labels)`
	isScale     = `request.?subResource.orValue('') == 'scale' && object.spec.?replicas.orValue(0) > oldObject.spec.?replicas.orValue(0)`
	scalesUp    = `object.spec.?replicas.orValue(1) > oldObject.spec.?replicas.orValue(1)`
)

// spec is the policy that refuses what the rules say.
// scalable are the workloads that mount claims, which a request to scale them does not tell.
func spec(m Mark, r Rules, scalable []string, nonce string) map[string]any {
	var rules []any
	rule := func(group string, operation string, resources ...any) {
		rules = append(rules, map[string]any{
			"apiGroups": []any{group}, "apiVersions": []any{"v1"}, "operations": []any{operation}, "resources": resources,
		})
	}
	rule("", "CREATE", "pods")
	if r.Jobs || r.Schedules {
		rule("batch", "CREATE", "jobs")
	}
	if r.Claims {
		rule("apps", "UPDATE", "deployments", "statefulsets", "replicasets", "deployments/scale", "statefulsets/scale", "replicasets/scale")
	}
	return map[string]any{
		"failurePolicy":    "Fail",
		"matchConstraints": map[string]any{"resourceRules": rules},
		"matchConditions":  []any{map[string]any{"name": "is-no-mover", "expression": isNoMover}},
		"validations":      validations(m, r, scalable, nonce),
	}
}

// validations are what must be true of what passes.
func validations(m Mark, r Rules, scalable []string, nonce string) []any {
	var all []any
	refuse := func(what, message string) {
		all = append(all, map[string]any{"expression": "!(" + what + ")", "message": message, "reason": "Forbidden"})
	}
	why := fmt.Sprintf("the migration %s (epoch %d) has the cluster %s write, and not this one; "+
		"rekindle migrate status shows more, and rekindle migrate rollback goes back (%s)", m.Migration, m.Epoch, m.Other, Name)
	refuse(fmt.Sprintf(`%s && object.metadata.?labels[?'%s'].orValue('') == '%s'`, isPod, marks.FenceProbe, nonce), probeRefusal)
	switch {
	case r.Jobs:
		refuse(isJob, "no Job begins: "+why)
	case r.Schedules:
		refuse(isJob+" && "+ofCronJob, "no schedule runs: "+why)
	}
	if r.JobPods != nil {
		refuse(fmt.Sprintf(`%s && %s && !(request.namespace in %s)`, isPod, hasJobLabel, admission.List(r.JobPods.Namespaces)), "no Job runs: "+why)
	}
	if r.Claims {
		exempt := make([]string, len(r.Exempt))
		for i, c := range r.Exempt {
			exempt[i] = c.String()
		}
		mounts := claimsOf + fmt.Sprintf(`.exists(c, !(c in %s) && !c.startsWith('%s'))`, admission.List(exempt), gateProbe)
		refuse(isPod+" && object.spec"+mounts, "no pod mounts a claim: "+why)
		refuse(isWorkload+" && "+scalesUp+" && (object.spec.?template.hasValue() && object.spec.template.spec"+mounts+
			" || object.spec.?volumeClaimTemplates.orValue([]).size() > 0)", "it is not scaled up: "+why)
		refuse(isScale+" && request.resource.resource + '/' + request.namespace + '/' + request.name in "+admission.List(scalable), "it is not scaled up: "+why)
	}
	if len(r.Apps) > 0 {
		refuse(isPod+" && "+outward.Expression("object", r.Apps), "nothing acts on external systems: "+why)
	}
	return all
}
