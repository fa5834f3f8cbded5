package kube

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Explain says why objects are stuck, one line for each object that has a cause: conditions that are
// not as they should be, what its pods and containers say with the last lines of their logs, the last
// warning. It is for people; what cannot be found out is left out.
func (c *Client) Explain(ctx context.Context, refs []Ref) []string {
	found := c.explainEach(ctx, refs)
	var lines []string
	for _, ref := range refs {
		if cause := found[ref]; cause != "" {
			lines = append(lines, ref.String()+": "+cause)
		}
	}
	return lines
}

// explain gives the causes of one object, the most telling first.
func (c *Client) explain(ctx context.Context, ref Ref) []string {
	obj, err := c.get(ctx, ref)
	if err != nil {
		return nil
	}
	var lines []string
	switch {
	case ref.Group == "" && ref.Kind == kindPod:
		lines = c.explainPods(ctx, ref.Namespace, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("metadata.name", ref.Name).String(),
		})
	case hasPods(ref):
		if selector := selectorOf(obj); selector != "" {
			lines = c.explainPods(ctx, ref.Namespace, metav1.ListOptions{LabelSelector: selector})
		}
	default:
		lines = c.explainOwned(ctx, obj)
		for _, bad := range badConditions(obj) {
			lines = append(lines, conditionText(bad))
		}
	}
	if len(lines) > 0 {
		return lines
	}
	if warning := c.lastWarning(ctx, ref.Namespace, obj.GetUID()); warning != "" {
		return []string{warning}
	}
	return nil
}

// hasPods says whether a kind selects pods that it makes.
func hasPods(ref Ref) bool {
	return ref.Group == groupApps && slices.Contains([]string{kindDeployment, kindStatefulSet, kindDaemonSet, kindReplicaSet}, ref.Kind) ||
		ref.Group == groupBatch && ref.Kind == kindJob
}

// selectorOf is how a workload finds its pods; empty when it does not say so.
func selectorOf(obj *unstructured.Unstructured) string {
	raw, found, _ := unstructured.NestedMap(obj.Object, "spec", "selector")
	var selector metav1.LabelSelector
	if !found || runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &selector) != nil {
		return ""
	}
	parsed, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil || parsed.Empty() {
		return ""
	}
	return parsed.String()
}

// badConditions are those that tell of trouble: a positive one that is not True and not just on its
// way, a negative one that is.
func badConditions(obj *unstructured.Unstructured) []map[string]any {
	negative := []string{"Stalled", "Failed", "ReplicaFailure", "Degraded"}
	positive := []string{
		"Ready", "Available", "Established", "NamesAccepted", "Healthy", "Released", "Synced", "Accepted", "Programmed",
	}
	var bad []map[string]any
	for _, c := range conditions(obj) {
		name, _ := c["type"].(string)
		reason, _ := c["reason"].(string)
		onItsWay := c["status"] == "Unknown" && strings.HasPrefix(reason, "Progressing")
		if slices.Contains(positive, name) && c["status"] != "True" && !onItsWay ||
			slices.Contains(negative, name) && c["status"] == "True" {
			bad = append(bad, c)
		}
	}
	return bad
}

// lastWarning is the newest warning event about an object, empty when there is none.
func (c *Client) lastWarning(ctx context.Context, namespace string, uid types.UID) string {
	if namespace == "" {
		namespace = metav1.NamespaceDefault // where events of the cluster's objects are kept
	}
	selector := fields.AndSelectors(
		fields.OneTermEqualSelector("involvedObject.uid", string(uid)),
		fields.OneTermEqualSelector("type", corev1.EventTypeWarning))
	events, err := c.typed.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: selector.String()})
	if err != nil || len(events.Items) == 0 {
		return ""
	}
	last := slices.MaxFunc(events.Items, func(a, b corev1.Event) int { return eventTime(a).Compare(eventTime(b)) })
	return last.Reason + ": " + c.oneLine(last.Message, 400)
}

func eventTime(e corev1.Event) time.Time {
	latest := e.LastTimestamp.Time
	for _, t := range []time.Time{e.EventTime.Time, e.CreationTimestamp.Time} {
		if t.After(latest) {
			latest = t
		}
	}
	if e.Series != nil && e.Series.LastObservedTime.After(latest) {
		latest = e.Series.LastObservedTime.Time
	}
	return latest
}

// oneLine is a text without line breaks and without secrets. Of one that is longer than a number of bytes the middle is left out:
// it begins with what was done, and ends with why that failed.
func (c *Client) oneLine(s string, most int) string {
	s = strings.Join(strings.Fields(c.redact(s)), " ") // in this order: what is cut or changed would not be known any more
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most/2], "") + " … " + strings.ToValidUTF8(s[len(s)-most/2:], "")
	}
	return s
}
