package stacks

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// hookRule is what a webhook is called for. Selectors and operations are left out: it covers too much
// rather than too little.
type hookRule struct {
	groups    []string
	resources []string
}

// rulesOf collects the rules of all webhooks among objects. A webhook without rules is never called.
func rulesOf(objs []*unstructured.Unstructured) []hookRule {
	var rules []hookRule
	for _, obj := range objs {
		if !strings.HasSuffix(obj.GetKind(), "WebhookConfiguration") {
			continue
		}
		hooks, _, _ := unstructured.NestedSlice(obj.Object, "webhooks")
		for _, h := range hooks {
			hook, _ := h.(map[string]any)
			list, _, _ := unstructured.NestedSlice(hook, "rules")
			for _, entry := range list {
				rule, _ := entry.(map[string]any)
				groups, _, _ := unstructured.NestedStringSlice(rule, "apiGroups")
				resources, _, _ := unstructured.NestedStringSlice(rule, "resources")
				rules = append(rules, hookRule{groups, resources})
			}
		}
	}
	return rules
}

func (r hookRule) covers(group, resource string) bool {
	return covered(r.groups, group) && slices.ContainsFunc(r.resources, func(wanted string) bool {
		name, _, _ := strings.Cut(wanted, "/") // "pods/exec"; "*/*" is everything
		return name == "*" || name == resource
	})
}

func covered(all []string, one string) bool {
	return slices.Contains(all, "*") || slices.Contains(all, one)
}

// coversObject guesses the resource from the kind as Kubernetes itself names its own, in both ways.
func (r hookRule) coversObject(obj *unstructured.Unstructured) bool {
	gvk := obj.GroupVersionKind()
	plural, singular := meta.UnsafeGuessKindToResource(gvk)
	return r.covers(gvk.Group, plural.Resource) || r.covers(gvk.Group, singular.Resource)
}
