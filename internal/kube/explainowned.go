package kube

import (
	"context"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// explainOwned gives the causes of the workloads that a controller made for a custom resource: its own
// status seldom tells more than that they are not ready.
func (c *Client) explainOwned(ctx context.Context, owner *unstructured.Unstructured) []string {
	group := owner.GroupVersionKind().Group
	if owner.GetNamespace() == "" || !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io") {
		return nil
	}
	var lines []string
	for _, ref := range c.owned(ctx, owner.GetNamespace(), owner.GetUID()) {
		obj, err := c.Get(ctx, ref)
		if err != nil || obj == nil || HealthOf(obj).Ready {
			continue
		}
		for _, line := range c.explain(ctx, ref) {
			lines = append(lines, ref.String()+": "+line)
		}
	}
	return lines
}

// owned lists the workloads of a namespace that have an owner. What cannot be listed is left out.
func (c *Client) owned(ctx context.Context, namespace string, owner types.UID) []Ref {
	var refs []Ref
	keep := func(group, kind string, meta metav1.ObjectMeta) {
		if slices.ContainsFunc(meta.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == owner }) {
			refs = append(refs, Ref{Group: group, Version: "v1", Kind: kind, Namespace: namespace, Name: meta.Name})
		}
	}
	apps, all := c.typed.AppsV1(), metav1.ListOptions{}
	if list, err := apps.StatefulSets(namespace).List(ctx, all); err == nil {
		for i := range list.Items {
			keep(groupApps, kindStatefulSet, list.Items[i].ObjectMeta)
		}
	}
	if list, err := apps.Deployments(namespace).List(ctx, all); err == nil {
		for i := range list.Items {
			keep(groupApps, kindDeployment, list.Items[i].ObjectMeta)
		}
	}
	if list, err := apps.DaemonSets(namespace).List(ctx, all); err == nil {
		for i := range list.Items {
			keep(groupApps, kindDaemonSet, list.Items[i].ObjectMeta)
		}
	}
	if list, err := c.typed.BatchV1().Jobs(namespace).List(ctx, all); err == nil {
		for i := range list.Items {
			keep(groupBatch, kindJob, list.Items[i].ObjectMeta)
		}
	}
	if list, err := c.typed.CoreV1().Pods(namespace).List(ctx, all); err == nil {
		for i := range list.Items {
			keep("", kindPod, list.Items[i].ObjectMeta)
		}
	}
	return refs
}
