// Package poke has controllers try at once what was refused to them for a while.
package poke

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
)

// Workloads has the controllers of a namespace, or of all when it is empty, try at once to make the pods that were
// refused: by themselves they wait longer after each refusal, up to a quarter of an hour. One that cannot be changed comes
// by itself, later: that is told, and is no error, as what refused it is away.
func Workloads(ctx context.Context, c *kube.Client, namespace string, p plan.Progress) {
	tryAgain(ctx, c, namespace, func(*corev1.PodSpec) bool { return true }, p)
}

// Pinned is Workloads for those alone whose pods name their node: the API server refuses a scheduling gate of such.
func Pinned(ctx context.Context, c *kube.Client, namespace string, p plan.Progress) {
	tryAgain(ctx, c, namespace, func(of *corev1.PodSpec) bool { return of.NodeName != "" }, p)
}

// How often what still lacks pods is tried again, and how long it is given each time to get them.
const (
	insistTimes = 2
	insistFor   = time.Second
	insistLook  = 200 * time.Millisecond
)

// Insist has what still lacks pods in a cluster try again for a moment, after [Workloads]. The API server that was asked follows its
// policies, but another one may do so up to a second later: if it is that one which refuses a pod once more, its controller waits longer
// than before. A StatefulSet that starts its pods one by one may lack some and have nothing refused.
func Insist(ctx context.Context, c *kube.Client, p plan.Progress) {
	for range insistTimes {
		var left []kube.Ref
		soon, cancel := context.WithTimeout(ctx, insistFor)
		err := wait.Poll(soon, wait.Func("the pods that were refused", func(ctx context.Context) (bool, string, error) {
			refs, err := short(ctx, c, metav1.NamespaceAll, func(*corev1.PodSpec) bool { return true }, inOrder)
			if err == nil {
				left = refs
			}
			return err == nil && len(refs) == 0, plan.Count(len(left), "workload"), nil
		}), insistLook, p)
		cancel()
		if err == nil || ctx.Err() != nil {
			return
		}
		for _, ref := range left {
			_ = workload(ctx, c, ref) // that it cannot be changed is told already
		}
	}
}

// inOrder says whether a StatefulSet makes a pod only when the one before is ready.
func inOrder(s *appsv1.StatefulSet) bool {
	return s.Spec.PodManagementPolicy != appsv1.ParallelPodManagement && s.Status.Replicas > 0
}

func tryAgain(ctx context.Context, c *kube.Client, namespace string, which func(of *corev1.PodSpec) bool, p plan.Progress) {
	refs, err := short(ctx, c, namespace, which, func(*appsv1.StatefulSet) bool { return false })
	if err != nil {
		p.Warn(fmt.Sprintf("what was refused is tried again by itself, up to a quarter of an hour later: list the workloads that lack pods: %v", err))
		return
	}
	for _, ref := range refs {
		if err := workload(ctx, c, ref); err != nil && !apierrors.IsNotFound(err) { // else somebody has removed it
			p.Warn(fmt.Sprintf("its pods are tried again by themselves, up to a quarter of an hour later: %v", err))
		}
	}
}

func workload(ctx context.Context, c *kube.Client, ref kube.Ref) error {
	for _, value := range []string{strconv.Quote(time.Now().UTC().Format(time.RFC3339Nano)), "null"} { // and away again
		if err := c.MergePatch(ctx, ref, []byte(`{"metadata":{"annotations":{"`+marks.Poked+`":`+value+`}}}`)); err != nil {
			return err
		}
	}
	return nil
}

// short lists the workloads of a namespace, those by whose pods which is true, that have fewer pods than they want, and those with a
// mark that a run left which was killed; without the StatefulSets of which spared is true.
func short(ctx context.Context, c *kube.Client, namespace string, which func(of *corev1.PodSpec) bool, spared func(*appsv1.StatefulSet) bool) ([]kube.Ref, error) {
	apps, batch := c.Typed().AppsV1(), c.Typed().BatchV1()
	var refs []kube.Ref
	add := func(gvk schema.GroupVersionKind, m metav1.ObjectMeta, of *corev1.PodSpec, has, wants int32) {
		if _, left := m.Annotations[marks.Poked]; which(of) && (left || has < wants) {
			refs = append(refs, kube.NewRef(gvk, m.Namespace, m.Name))
		}
	}
	sets, err := apps.StatefulSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range sets.Items {
		if s := &sets.Items[i]; !spared(s) {
			add(appsv1.SchemeGroupVersion.WithKind("StatefulSet"), s.ObjectMeta, &s.Spec.Template.Spec, s.Status.Replicas, ptr.Deref(s.Spec.Replicas, 1))
		}
	}
	replicas, err := apps.ReplicaSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, r := range replicas.Items {
		add(appsv1.SchemeGroupVersion.WithKind("ReplicaSet"), r.ObjectMeta, &r.Spec.Template.Spec, r.Status.Replicas, ptr.Deref(r.Spec.Replicas, 1))
	}
	daemons, err := apps.DaemonSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, d := range daemons.Items {
		add(appsv1.SchemeGroupVersion.WithKind("DaemonSet"), d.ObjectMeta, &d.Spec.Template.Spec, d.Status.CurrentNumberScheduled, d.Status.DesiredNumberScheduled)
	}
	jobs, err := batch.Jobs(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, j := range jobs.Items {
		wants := int32(1)
		if j.Status.CompletionTime != nil || ptr.Deref(j.Spec.Suspend, false) || slices.ContainsFunc(j.Status.Conditions, hasFailed) {
			wants = 0
		}
		add(batchv1.SchemeGroupVersion.WithKind("Job"), j.ObjectMeta, &j.Spec.Template.Spec, j.Status.Active, wants)
	}
	return refs, nil
}

func hasFailed(c batchv1.JobCondition) bool {
	return c.Type == batchv1.JobFailed && c.Status == corev1.ConditionTrue
}
