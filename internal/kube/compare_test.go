package kube

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// object reads one object of a manifest.
func object(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	objs, err := ParseManifest([]byte(manifest))
	if err != nil || len(objs) != 1 {
		t.Fatalf("%d objects, %v in\n%s", len(objs), err, manifest)
	}
	return objs[0]
}

func TestDifference(t *testing.T) {
	const head = "apiVersion: v1\nkind: Thing\nmetadata: {name: x}\n"
	for name, c := range map[string]struct {
		desired, live string
		at            string
	}{
		"equal":                          {"spec: {a: 1}", "spec: {a: 1}", ""},
		"defaults of the server":         {"spec: {a: 1}", "spec: {a: 1, b: 2}", ""},
		"another value":                  {"spec: {a: 1}", "spec: {a: 2}", "spec.a"},
		"a missing value":                {"spec: {a: 1}", "spec: {}", "spec.a"},
		"null is absence":                {"spec: {a: null}", "spec: {b: 1}", ""},
		"null where there is something":  {"spec: {a: null}", "spec: {a: 1}", "spec.a"},
		"zero is absence":                {"spec: {a: 0, b: '', c: false, d: [], e: {f: {}}}", "spec: {}", ""},
		"zero replicas are not one":      {"spec: {replicas: 0}", "spec: {replicas: 1}", "spec.replicas"},
		"whole and decimal numbers":      {"spec: {a: 1.0}", "spec: {a: 1}", ""},
		"quantities in other units":      {"spec: {limits: {cpu: 1000m, memory: 1024Mi}}", "spec: {limits: {cpu: '1', memory: 1Gi}}", ""},
		"quantities as numbers":          {"spec: {requests: {cpu: 2}}", "spec: {requests: {cpu: '2'}}", ""},
		"other quantities":               {"spec: {limits: {cpu: 1}}", "spec: {limits: {cpu: '2'}}", "spec.limits.cpu"},
		"no quantity elsewhere":          {"data: {a: 1000m}", "data: {a: '1'}", "data.a"},
		"a list of scalars in order":     {"spec: {args: [a, b]}", "spec: {args: [b, a]}", "spec.args.0"},
		"a longer list of scalars":       {"spec: {args: [a]}", "spec: {args: [a, b]}", "spec.args"},
		"named items added by others":    {"spec: {c: [{name: a, x: 1}]}", "spec: {c: [{name: b}, {name: a, x: 1, y: 2}]}", ""},
		"named items in another order":   {"spec: {c: [{name: a}, {name: b}]}", "spec: {c: [{name: b}, {name: a}]}", ""},
		"a named item that differs":      {"spec: {c: [{name: a, x: 1}]}", "spec: {c: [{name: a, x: 2}]}", "spec.c.0.x"},
		"a named item that is gone":      {"spec: {c: [{name: a}, {name: b}]}", "spec: {c: [{name: a}]}", "spec.c"},
		"rules have no names":            {"rules: [{verbs: [get]}]", "rules: [{verbs: [get]}, {verbs: ['*']}]", "rules"},
		"status is not desired":          {"status: {a: 1}", "status: {a: 2}", ""},
		"a placeholder that was filled":  {"spec: {caBundle: Cg==}", "spec: {caBundle: TFMwdA==}", ""},
		"a placeholder that was not":     {"spec: {caBundle: TFMwdA==}", "spec: {caBundle: Cg==}", "spec.caBundle"},
		"multi-line text":                {"data: {a: \"x\\ny\"}", "data: {a: \"x\\ny\"}", ""},
		"a map where a scalar is wanted": {"spec: {a: x}", "spec: {a: {b: 1}}", "spec.a"},
	} {
		if got := pathOf(difference(object(t, head+c.desired), object(t, head+c.live))); got != c.at {
			t.Errorf("%s: differs at %q, want %q", name, got, c.at)
		}
	}
}

func TestMetadataDifference(t *testing.T) {
	const head = "apiVersion: v1\nkind: Thing\nmetadata:\n  name: x\n"
	for name, c := range map[string]struct {
		desired, live string
		at            string
	}{
		"labels of others":      {"  labels: {a: b}", "  labels: {a: b, c: d}", ""},
		"another label":         {"  labels: {a: b}", "  labels: {a: c}", "metadata.labels.a"},
		"finalizers of others":  {"  finalizers: [one]", "  finalizers: [two, one]", ""},
		"a missing finalizer":   {"  finalizers: [one]", "  finalizers: [two]", "metadata.finalizers"},
		"annotations of others": {"", "  annotations: {a: b}\n  finalizers: [one]", ""},
		"what the server wrote": {"  generation: 1", "  generation: 2", ""},
	} {
		if got := pathOf(difference(object(t, head+c.desired), object(t, head+c.live))); got != c.at {
			t.Errorf("%s: differs at %q, want %q", name, got, c.at)
		}
	}
}

func TestSecretsAreComparedAsTheyAreKept(t *testing.T) {
	desired := normalized(object(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {a: b}"))
	live := object(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {a: Yg==}\ntype: Opaque")
	if at := difference(desired, live); at != nil {
		t.Errorf("differs at %s", at)
	}
}

func TestRulesOfAnAggregatedRoleAreItsControllers(t *testing.T) {
	const head = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: x}\n"
	for name, c := range map[string]struct {
		desired, live string
		at            string
	}{
		"aggregated":        {"aggregationRule: {clusterRoleSelectors: [{matchLabels: {a: b}}]}\nrules: []", "aggregationRule: {clusterRoleSelectors: [{matchLabels: {a: b}}]}\nrules: [{verbs: [get]}]", ""},
		"another selection": {"aggregationRule: {clusterRoleSelectors: [{matchLabels: {a: b}}]}", "aggregationRule: {clusterRoleSelectors: [{matchLabels: {a: c}}]}", "aggregationRule.clusterRoleSelectors.0.matchLabels.a"},
		"not aggregated":    {"rules: [{verbs: [list]}]", "rules: [{verbs: [get]}]", "rules.0.verbs.0"},
	} {
		desired, live := normalized(object(t, head+c.desired)), normalized(object(t, head+c.live))
		if at := pathOf(difference(desired, live)); at != c.at {
			t.Errorf("%s: differs at %q, want %q", name, at, c.at)
		}
		if at := difference(live, desired); (at == nil) != (c.at == "") {
			t.Errorf("%s: the other way it differs at %q", name, at)
		}
	}
}

func TestRemovedFields(t *testing.T) {
	live := object(t, `
apiVersion: v1
kind: Thing
metadata:
  name: x
  managedFields:
  - manager: ours
    operation: Apply
    fieldsType: FieldsV1
    fieldsV1:
      f:spec:
        f:a: {}
        f:ports:
          k:{"port":80,"protocol":"TCP"}: {".": {}, f:port: {}}
        f:finalizers: {'v:"one"': {}}
`)
	for name, c := range map[string]struct {
		desired, manager string
		removed          bool
	}{
		"all is still wanted":       {"spec: {a: 1, ports: [{port: 80}], finalizers: [one]}", "ours", false},
		"a field is not":            {"spec: {ports: [{port: 80}], finalizers: [one]}", "ours", true},
		"an item is not":            {"spec: {a: 1, ports: [{port: 81}], finalizers: [one]}", "ours", true},
		"a value is not":            {"spec: {a: 1, ports: [{port: 80}], finalizers: [two]}", "ours", true},
		"fields of another manager": {"spec: {}", "theirs", false},
	} {
		desired := object(t, "apiVersion: v1\nkind: Thing\nmetadata: {name: x}\n"+c.desired)
		if got := removed(desired, live, c.manager); got != c.removed {
			t.Errorf("%s: removed is %v", name, got)
		}
	}
}
