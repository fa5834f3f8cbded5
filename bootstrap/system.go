package bootstrap

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// networkReady waits for what makes the network of the new cluster: a controller that does not reach the API
// server by its Service exits, and is then held back for ten seconds and more. What runs on the network of its
// node needs no other, so it comes up even where the stack has yet to bring one.
func (j *Job) networkReady() *plan.Step {
	if j.simulated {
		return nil
	}
	return &plan.Step{
		ID: "network", Title: "wait for the cluster's network", Timeout: 10 * time.Minute, Passive: true,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			daemons, err := j.client.Typed().AppsV1().DaemonSets(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{})
			if err != nil {
				return "", err
			}
			var refs []kube.Ref
			for _, d := range daemons.Items {
				if d.Spec.Template.Spec.HostNetwork && !ofHelm(d.ObjectMeta) {
					refs = append(refs, workloadRef("DaemonSet", d.ObjectMeta))
				}
			}
			return plan.Unchanged, j.watcher.Ready(ctx, refs, p)
		},
	}
}

// systemReady waits for what the provider itself put into the new cluster: DNS, the proxy, the
// storage provisioner. Releases do not wait for it.
func (j *Job) systemReady() plan.Step {
	return plan.Step{
		ID: "system", Title: "wait for the cluster's own workloads", Timeout: 10 * time.Minute, Passive: true,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			refs, err := j.systemWorkloads(ctx)
			if err != nil {
				return "", err
			}
			return plan.Unchanged, j.watcher.Ready(ctx, refs, p)
		},
	}
}

// systemWorkloads lists them: everything in namespaces that neither the stack nor the repository names. What these
// brought in an earlier run has steps of its own, and may be waiting for its data. Of a cluster that somebody else made only
// kube-system is asked: what other teams run there is none of ours, and may be broken for ever.
func (j *Job) systemWorkloads(ctx context.Context) ([]kube.Ref, error) {
	ours := map[string]bool{"default": true}
	for _, r := range j.stack.Releases {
		ours[r.Namespace] = r.Namespace != metav1.NamespaceSystem
	}
	for _, obj := range j.renderedObjects() {
		ours[obj.GetNamespace()] = obj.GetNamespace() != metav1.NamespaceSystem
	}
	namespace := metav1.NamespaceAll
	if j.isLent() {
		namespace = metav1.NamespaceSystem
	}
	apps := j.client.Typed().AppsV1()
	deployments, err := apps.Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	daemons, err := apps.DaemonSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var refs []kube.Ref
	add := func(kind string, o metav1.ObjectMeta) {
		if !ours[o.Namespace] && !ofHelm(o) {
			refs = append(refs, workloadRef(kind, o))
		}
	}
	for _, d := range deployments.Items {
		add("Deployment", d.ObjectMeta)
	}
	for _, d := range daemons.Items {
		add("DaemonSet", d.ObjectMeta)
	}
	return refs, nil
}

// stayUp sees at the end that everything that came up is still up: a container that crashes a second after its start, and has no
// probe, was Ready in between, and a wait for readiness ended there. Simulated nodes crash nothing.
func (j *Job) stayUp() *plan.Step {
	if j.simulated {
		return nil
	}
	return &plan.Step{
		ID: "steady", Title: "see that what came up stays up", Timeout: 5 * time.Minute, Passive: true,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			refs, err := j.workloads(ctx)
			if err != nil {
				return "", err
			}
			return plan.Unchanged, j.client.AwaitSteady(ctx, refs, p)
		},
	}
}

// workloads are those of the cluster itself, of the stack, and what the reconciler runs; there may be other objects among them.
func (j *Job) workloads(ctx context.Context) ([]kube.Ref, error) {
	refs, err := j.systemWorkloads(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range j.stack.Releases {
		refs = append(refs, r.Refs()...)
	}
	if j.follower == nil {
		return refs, nil
	}
	target, err := j.target(ctx)
	if err != nil {
		return nil, err
	}
	applied, err := j.follower.Workloads(ctx, j.client, target)
	return append(refs, applied...), err
}

// ofHelm says whether a workload belongs to a release.
func ofHelm(o metav1.ObjectMeta) bool { return o.Labels["app.kubernetes.io/managed-by"] == "Helm" }

func workloadRef(kind string, o metav1.ObjectMeta) kube.Ref {
	return kube.NewRef(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: kind}, o.Namespace, o.Name)
}
