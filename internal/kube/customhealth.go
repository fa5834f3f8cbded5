package kube

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// customHealth is kstatus, and what it leaves out of the conditions of a custom resource: one that is
// of an older generation, and Available where there is no Ready.
func customHealth(obj *unstructured.Unstructured) Health {
	h := statusHealth(obj)
	if !h.Ready {
		return h
	}
	if obj.GroupVersionKind().Group == groupGateway {
		return gatewayHealth(obj)
	}
	for _, name := range []string{"Ready", "Available"} {
		if c := condition(obj, name); c != nil {
			return currentHealth(obj, c)
		}
	}
	return h
}

// currentHealth is ready when a condition of a custom resource is True for its present generation.
func currentHealth(obj *unstructured.Unstructured, c map[string]any) Health {
	if observed, ok := c["observedGeneration"].(int64); ok && observed < obj.GetGeneration() {
		return Health{Message: "not yet seen by its controller since it was changed"}
	}
	return Health{Ready: c["status"] == "True", Message: conditionText(c)}
}

// gatewayHealth is that of the kinds of the Gateway API: a Gateway is accepted and programmed, its class accepted, a route
// accepted by each parent that has looked at it.
func gatewayHealth(obj *unstructured.Unstructured) Health {
	wanted := map[string][]string{"Gateway": {"Accepted", "Programmed"}, "GatewayClass": {"Accepted"}}[obj.GetKind()]
	for _, name := range wanted {
		c := condition(obj, name)
		if c == nil {
			return Health{Message: "not " + name + " yet"}
		}
		if h := currentHealth(obj, c); !h.Ready {
			return h
		}
	}
	parents, _, _ := unstructured.NestedSlice(obj.Object, "status", "parents")
	for _, parent := range parents {
		fields, _ := parent.(map[string]any)
		for _, c := range conditionsOf(fields) {
			if h := currentHealth(obj, c); c["type"] == "Accepted" && !h.Ready {
				return h
			}
		}
	}
	return Health{Ready: true}
}
