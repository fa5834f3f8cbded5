package bootstrap

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
)

// systemReady waits for what the provider itself put into the new cluster: DNS, the proxy, the
// storage provisioner. Releases do not wait for it.
func (j *Job) systemReady() plan.Step {
	return plan.Step{
		ID: "system", Title: "wait for the cluster's own workloads", Timeout: 10 * time.Minute,
		Do: func(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
			refs, err := j.systemWorkloads(ctx)
			if err != nil {
				return "", err
			}
			return plan.Unchanged, j.watcher.Ready(ctx, refs, p)
		},
	}
}

// systemWorkloads lists them: everything in namespaces that neither the stack nor the keys name.
func (j *Job) systemWorkloads(ctx context.Context) ([]kube.Ref, error) {
	ours := map[string]bool{"default": true}
	for _, r := range j.stack.Releases {
		ours[r.Namespace] = r.Namespace != "kube-system"
	}
	apps := j.client.Typed().AppsV1()
	deployments, err := apps.Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	daemons, err := apps.DaemonSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var refs []kube.Ref
	add := func(kind string, o metav1.ObjectMeta) {
		if !ours[o.Namespace] && o.Labels["app.kubernetes.io/managed-by"] != "Helm" {
			refs = append(refs, kube.NewRef(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: kind}, o.Namespace, o.Name))
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
