package kube

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Workloads lists the Deployments, StatefulSets and DaemonSets of all namespaces that a label selector finds and whose labels are
// wanted.
func (c *Client) Workloads(ctx context.Context, selector string, wanted func(labels map[string]string) bool) ([]Ref, error) {
	var refs []Ref
	for _, resource := range []string{"deployments", "statefulsets", "daemonsets"} {
		gvr := schema.GroupVersionResource{Group: groupApps, Version: "v1", Resource: resource}
		err := persist(ctx, "list the "+resource, nil, func(ctx context.Context) error {
			list, err := c.dynamic.Resource(gvr).List(ctx, metav1.ListOptions{LabelSelector: selector})
			if err != nil {
				return err
			}
			for i := range list.Items {
				if obj := &list.Items[i]; wanted(obj.GetLabels()) {
					refs = append(refs, RefOf(obj))
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return refs, nil
}
