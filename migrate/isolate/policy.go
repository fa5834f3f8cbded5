package isolate

import (
	"fmt"

	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/migrate/outward"
)

// probeRefusal is told to nobody but the proof.
const probeRefusal = "the drill refuses its probe"

// why ends every refusal.
const why = "this cluster is a trial, which rekindle drill made and removes: it must not act on external systems (" + Name + ")"

// acmeGroup is that of cert-manager's orders.
const acmeGroup = "acme.cert-manager.io"

// refusing is the policy that refuses what acts outside.
func refusing(apps []string, nonce string) map[string]any {
	var rules, validations []any
	rule := func(group string, resources ...any) {
		rules = append(rules, map[string]any{
			"apiGroups": []any{group}, "apiVersions": []any{"*"}, "operations": []any{"CREATE"}, "resources": resources,
		})
	}
	refuse := func(what, message string) {
		validations = append(validations, map[string]any{"expression": "!(" + what + ")", "message": message, "reason": "Forbidden"})
	}
	const isPod = `request.resource.group == '' && request.resource.resource == 'pods'`
	rule("", "pods")
	refuse(isPod+" && "+isProbe("object", nonce), probeRefusal)
	refuse(isPod+" && "+outward.Expression("object", apps), "the application is held back: "+why)
	rule("batch", "jobs")
	refuse(`request.resource.resource == 'jobs' && object.metadata.?ownerReferences.orValue([]).exists(o, o.kind == 'CronJob')`,
		"no schedule runs: "+why)
	rule(acmeGroup, "orders", "challenges")
	refuse(`request.resource.group == '`+acmeGroup+`'`, "no certificate is ordered: "+why)
	return map[string]any{
		"failurePolicy": "Fail", "matchConstraints": map[string]any{"resourceRules": rules}, "validations": validations,
	}
}

// quieting is the policy that lets workloads of the applications in without pods: none of a Deployment or a StatefulSet,
// and those of a DaemonSet for nodes that there are none of.
func quieting(apps []string, nonce string) map[string]any {
	const none = `request.resource.resource == 'daemonsets'` +
		` ? [JSONPatch{op: "add", path: "/spec/template/spec/nodeSelector", value: {"` + marks.Held + `": "none"}}]` +
		` : [JSONPatch{op: "add", path: "/spec/replicas", value: 0}]`
	const template = "object.spec.template"
	return map[string]any{
		"failurePolicy": "Fail",
		"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
			"apiGroups": []any{"apps"}, "apiVersions": []any{"v1"}, "operations": []any{"CREATE", "UPDATE"},
			"resources": []any{"deployments", "statefulsets", "daemonsets"},
		}}},
		"matchConditions": []any{map[string]any{
			"name": "is-held", "expression": "(" + isProbe(template, nonce) + ") || (" + outward.Expression(template, apps) + ")",
		}},
		"reinvocationPolicy": "IfNeeded",
		"mutations": []any{map[string]any{
			"patchType": "JSONPatch", "jsonPatch": map[string]any{"expression": none},
		}},
	}
}

// isProbe matches the object of the proof.
func isProbe(object, nonce string) string {
	return fmt.Sprintf(`%s.?metadata.?labels[?'%s'].orValue('') == '%s'`, object, marks.DrillProbe, nonce)
}
