// Package poke has controllers try at once what was refused to them for a while.
package poke

import (
	"context"
	"fmt"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
)

// mark is for a moment on workloads that are to try again.
const mark = "rekindle.dev/poked"

// Workloads has the controllers of a namespace, or of all when it is empty, try at once to make the pods that were
// refused: by themselves they wait longer after each refusal, up to a quarter of an hour.
func Workloads(ctx context.Context, c *kube.Client, namespace string) error {
	refs, err := short(ctx, c, namespace)
	if err != nil {
		return fmt.Errorf("list the workloads that lack pods: %w", err)
	}
	var errs []error
	for _, ref := range refs {
		for _, value := range []string{strconv.Quote(time.Now().UTC().Format(time.RFC3339Nano)), "null"} { // and away again
			errs = append(errs, c.MergePatch(ctx, ref, []byte(`{"metadata":{"annotations":{"`+mark+`":`+value+`}}}`)))
		}
	}
	return fault.Join(errs...)
}

// short lists the workloads of a namespace that have fewer pods than they want.
func short(ctx context.Context, c *kube.Client, namespace string) ([]kube.Ref, error) {
	apps, batch := c.Typed().AppsV1(), c.Typed().BatchV1()
	var refs []kube.Ref
	add := func(gvk schema.GroupVersionKind, m metav1.ObjectMeta, has, wants int32) {
		if has < wants {
			refs = append(refs, kube.NewRef(gvk, m.Namespace, m.Name))
		}
	}
	sets, err := apps.StatefulSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, s := range sets.Items {
		add(appsv1.SchemeGroupVersion.WithKind("StatefulSet"), s.ObjectMeta, s.Status.Replicas, ptr.Deref(s.Spec.Replicas, 1))
	}
	replicas, err := apps.ReplicaSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, r := range replicas.Items {
		add(appsv1.SchemeGroupVersion.WithKind("ReplicaSet"), r.ObjectMeta, r.Status.Replicas, ptr.Deref(r.Spec.Replicas, 1))
	}
	daemons, err := apps.DaemonSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, d := range daemons.Items {
		add(appsv1.SchemeGroupVersion.WithKind("DaemonSet"), d.ObjectMeta, d.Status.CurrentNumberScheduled, d.Status.DesiredNumberScheduled)
	}
	jobs, err := batch.Jobs(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, j := range jobs.Items {
		if j.Status.CompletionTime == nil {
			add(batchv1.SchemeGroupVersion.WithKind("Job"), j.ObjectMeta, j.Status.Active, 1)
		}
	}
	return refs, nil
}
