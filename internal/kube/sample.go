package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	reviewv1 "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
)

// samplesTried is how many resources of a group are tried where a rule names all of them.
const samplesTried = 8

// samplesFor makes objects whose creation a webhook has to see, none when none can be made. They are
// only ever created as a dry run. One may not do: the server may refuse it before it asks the webhook.
func (c *Client) samplesFor(ctx context.Context, h webhook) ([]*unstructured.Unstructured, error) {
	namespace, err := c.namespaceFor(ctx, h.namespace)
	if err != nil {
		return nil, err
	}
	var samples []*unstructured.Unstructured
	for _, rule := range h.rules {
		if !slices.Contains(rule.Operations, admissionv1.Create) && !slices.Contains(rule.Operations, admissionv1.OperationAll) {
			continue
		}
		mappings, err := c.mappingsOf(rule.Rule)
		if transient(err) {
			return nil, err
		}
		if err != nil {
			continue // a kind that is not served: another rule may do
		}
		for _, mapping := range mappings {
			namespaced := mapping.Scope.Name() == meta.RESTScopeNameNamespace
			if namespaced && namespace == "" || len(samples) == samplesTried {
				continue
			}
			sample := &unstructured.Unstructured{Object: c.body(ctx, mapping)}
			sample.SetGroupVersionKind(mapping.GroupVersionKind)
			sample.SetName("rekindle-proof-" + rand.String(6))
			sample.SetLabels(labelsFor(h.object))
			if namespaced {
				sample.SetNamespace(namespace)
			}
			samples = append(samples, sample)
		}
	}
	return samples, nil
}

// mappingsOf chooses resources that a rule names. Where it names all, that is a ConfigMap where it may be one, else
// whatever can be created in the rule's group.
func (c *Client) mappingsOf(rule admissionv1.Rule) ([]*meta.RESTMapping, error) {
	gvr := schema.GroupVersionResource{Group: first(rule.APIGroups, ""), Version: first(rule.APIVersions, "")}
	var names []string
	for _, resource := range rule.Resources {
		switch {
		case !strings.HasPrefix(resource, "*"):
			if !strings.Contains(resource, "/") {
				names = append(names, resource)
			}
		case resource != "*" && resource != "*/*": // a subresource of all
		case gvr.Group == "":
			names = append(names, "configmaps")
		default:
			creatable, err := c.creatable(gvr.GroupVersion())
			if err != nil {
				return nil, err
			}
			names = append(names, creatable...)
		}
	}
	var mappings []*meta.RESTMapping
	for _, name := range names {
		kind, err := c.mapper.KindFor(gvr.GroupVersion().WithResource(name))
		if transient(err) {
			return nil, err
		}
		if err != nil {
			continue // another may be served
		}
		mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			return nil, err
		}
		mappings = append(mappings, mapping)
	}
	return mappings, nil
}

// creatable are the resources of a group, or of one version of it, that the server lets create.
func (c *Client) creatable(gv schema.GroupVersion) ([]string, error) {
	_, lists, err := c.discovery.ServerGroupsAndResources()
	if len(lists) == 0 {
		return nil, err // where some groups cannot be asked, this one may be among the others
	}
	var names []string
	for _, list := range lists {
		served, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil || served.Group != gv.Group || gv.Version != "" && served.Version != gv.Version {
			continue
		}
		for _, resource := range list.APIResources {
			if slices.Contains(resource.Verbs, "create") && !strings.Contains(resource.Name, "/") && !slices.Contains(names, resource.Name) {
				names = append(names, resource.Name)
			}
		}
	}
	return names, nil
}

// first is the first of a rule's values, or other when that stands for all.
func first(values []string, other string) string {
	if len(values) == 0 || values[0] == "*" {
		return other
	}
	return values[0]
}

// labelsFor are labels that a selector selects.
func labelsFor(s *metav1.LabelSelector) map[string]string {
	found := map[string]string{}
	if s == nil {
		return found
	}
	for key, value := range s.MatchLabels {
		found[key] = value
	}
	for _, e := range s.MatchExpressions {
		switch e.Operator {
		case metav1.LabelSelectorOpIn:
			found[e.Key] = e.Values[0]
		case metav1.LabelSelectorOpExists:
			found[e.Key] = ""
		}
	}
	return found
}

// namespaceFor is a namespace that a selector selects, preferably default; empty when there is none.
func (c *Client) namespaceFor(ctx context.Context, s *metav1.LabelSelector) (string, error) {
	o := metav1.ListOptions{}
	if s != nil {
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			return "", err
		}
		o.LabelSelector = selector.String()
	}
	list, err := c.typed.CoreV1().Namespaces().List(ctx, o)
	if err != nil {
		return "", err
	}
	chosen := ""
	for _, ns := range list.Items {
		if ns.Status.Phase != corev1.NamespaceActive {
			continue
		}
		if chosen == "" || ns.Name == metav1.NamespaceDefault {
			chosen = ns.Name
		}
	}
	return chosen, nil
}

// body is the least that the server accepts of a kind, as far as that is known.
func (c *Client) body(ctx context.Context, m *meta.RESTMapping) map[string]any {
	pod := map[string]any{"containers": []any{map[string]any{"name": "proof", "image": "proof"}}}
	labels := map[string]any{"rekindle-proof": "x"}
	template := map[string]any{"metadata": map[string]any{"labels": labels}, "spec": pod}
	workload := map[string]any{"spec": map[string]any{"selector": map[string]any{"matchLabels": labels}, "template": template}}
	switch m.Resource.GroupResource().String() {
	case "pods":
		return map[string]any{"spec": pod}
	case "services":
		return map[string]any{"spec": map[string]any{"ports": []any{map[string]any{"port": int64(80)}}}}
	case "deployments.apps", "daemonsets.apps", "replicasets.apps":
		return workload
	case "statefulsets.apps":
		workload["spec"].(map[string]any)["serviceName"] = "proof"
		return workload
	case "jobs.batch":
		pod["restartPolicy"] = "Never"
		return map[string]any{"spec": map[string]any{"template": map[string]any{"spec": pod}}}
	case "ingresses.networking.k8s.io":
		backend := map[string]any{"service": map[string]any{"name": "proof", "port": map[string]any{"number": int64(80)}}}
		return map[string]any{"spec": map[string]any{"defaultBackend": backend}}
	}
	return c.customBody(ctx, m)
}

// customBody is the least that the schema of a custom resource demands.
func (c *Client) customBody(ctx context.Context, m *meta.RESTMapping) map[string]any {
	obj, err := c.Get(ctx, Ref{Group: groupCRD, Version: "v1", Kind: kindCRD, Name: m.Resource.GroupResource().String()})
	if err != nil || obj == nil {
		return map[string]any{} // a built-in kind without a template above
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &crd) != nil {
		return map[string]any{}
	}
	for _, v := range crd.Spec.Versions {
		if v.Name == m.Resource.Version && v.Schema != nil && v.Schema.OpenAPIV3Schema != nil {
			if body, ok := least(*v.Schema.OpenAPIV3Schema).(map[string]any); ok {
				delete(body, "status")
				delete(body, "metadata")
				return body
			}
		}
	}
	return map[string]any{}
}

// least is the least value that a schema accepts, patterns and rules in CEL left aside.
func least(s apiextensionsv1.JSONSchemaProps) any {
	for _, given := range append([]apiextensionsv1.JSON{}, s.Enum...) {
		var value any
		if json.Unmarshal(given.Raw, &value) == nil {
			return value
		}
	}
	switch s.Type {
	case "object":
		fields := map[string]any{}
		for _, name := range s.Required {
			if property, ok := s.Properties[name]; ok && property.Default == nil {
				fields[name] = least(property)
			}
		}
		return fields
	case "array":
		items := []any{}
		if s.MinItems != nil && s.Items != nil && s.Items.Schema != nil {
			for range *s.MinItems {
				items = append(items, least(*s.Items.Schema))
			}
		}
		return items
	case "integer", "number":
		if s.Minimum != nil {
			return int64(*s.Minimum) + 1
		}
		return int64(1)
	case "boolean":
		return false
	}
	if s.Format == "byte" {
		return "cHJvb2Y=" // a proof
	}
	length := 5
	if s.MinLength != nil {
		length = max(length, int(*s.MinLength))
	}
	return strings.Repeat("x", length)
}

// callThroughProxy sends a webhook a review through the API server's service proxy. Every answer that
// is a review proves that it serves. The review is marked as a dry run, so it has no effect.
func (c *Client) callThroughProxy(ctx context.Context, h webhook) error {
	dryRun := true
	review := reviewv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: reviewv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request: &reviewv1.AdmissionRequest{
			UID: types.UID("rekindle-proof-" + rand.String(6)), Operation: reviewv1.Create, DryRun: &dryRun,
			Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "ConfigMap"},
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "configmaps"},
			Name:     "rekindle-proof", Namespace: metav1.NamespaceDefault,
			Object: runtime.RawExtension{Raw: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"rekindle-proof","namespace":"default"}}`)},
		},
	}
	body, err := json.Marshal(review)
	if err != nil {
		return err
	}
	service, port, path := h.client.Service, int32(443), ""
	if service.Port != nil {
		port = *service.Port
	}
	if service.Path != nil {
		path = *service.Path
	}
	raw, err := c.typed.CoreV1().RESTClient().Post().Namespace(service.Namespace).Resource("services").
		Name(fmt.Sprintf("https:%s:%d", service.Name, port)).SubResource("proxy").Suffix(path).
		SetHeader("Content-Type", "application/json").Body(body).DoRaw(ctx)
	if err != nil {
		return err
	}
	var answer reviewv1.AdmissionReview
	if json.Unmarshal(raw, &answer) != nil || answer.Response == nil {
		return fmt.Errorf("%s/%s answers, but not as a webhook", service.Namespace, service.Name)
	}
	return nil
}
