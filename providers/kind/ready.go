package kind

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
)

// readyTimeout is how long a new cluster may take after kind has made it, where the caller sets no
// bound of its own.
const readyTimeout = 5 * time.Minute

// readyPause is the longest pause between two looks at an API server that boots: it cannot be watched.
const readyPause = 300 * time.Millisecond

// ready waits until the API server is ready and every container is a Ready node. After a restart it waits too
// until what kind installs runs again: the network's daemons, DNS, and the provisioner of the default storage
// class. In a new cluster those come up beside what the caller does next. All of it is watched, not polled.
// Then the version is compared with the wanted one.
func (p *Provider) ready(ctx context.Context, c *providers.Cluster, nodes []container, s providers.Spec, restarted bool, progress plan.Progress) error {
	control := controlPlane(nodes)
	if control == nil {
		return fault.New(fault.Failed, "has no control plane").On("cluster %s", c.Ref)
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client, err := kube.Connect(c.REST)
	if err != nil {
		return fmt.Errorf("cluster %s: %w", c.Ref, err)
	}
	defer client.Close()
	if err := p.settle(ctx, client, nodes, restarted, progress); err != nil {
		return fault.Wrap(err, fault.Failed, "never became ready").On("cluster %s", c.Ref).
			WithHint("look into it: %s exec %s journalctl -u kubelet --no-pager -n 50", p.runtime.command, control.Name)
	}
	version, err := client.Version(ctx)
	if err != nil {
		return fmt.Errorf("cluster %s: %w", c.Ref, err)
	}
	c.Version = version.GitVersion
	return versionFits(c, s.Version)
}

// settle waits for the nodes, and after a restart for everything of the cluster's own.
func (p *Provider) settle(ctx context.Context, client *kube.Client, nodes []container, restarted bool, progress plan.Progress) error {
	// While it boots, it refuses connections, then requests, and then says that it is not ready: none of
	// that is an error before the time is over.
	answers := wait.Func("the API server is ready", func(ctx context.Context) (bool, string, error) {
		_, err := client.Typed().Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err != nil {
			line, _, _ := strings.Cut(err.Error(), "\n")
			return false, line, nil
		}
		return true, "", nil
	})
	if err := wait.Poll(ctx, answers, readyPause, progress); err != nil {
		return err
	}
	if p.settings.bringsNoNetwork() {
		progress.Note("disableDefaultCNI: nodes become Ready with the network plugin that the stack brings")
		return nil
	}
	watcher := client.Watch(ctx)
	defer watcher.Close()
	if !restarted {
		return watcher.Ready(ctx, nodeRefs(nodes), progress)
	}
	system, err := systemWorkloads(ctx, client)
	if err != nil {
		return err
	}
	return watcher.Ready(ctx, append(append(nodeRefs(nodes), controlRefs(nodes)...), system...), progress)
}

// nodeRefs are the nodes.
func nodeRefs(nodes []container) []kube.Ref {
	var refs []kube.Ref
	for _, n := range nodes {
		if n.Role != controlRole && n.Role != workerRole {
			continue // a load balancer before several control planes
		}
		refs = append(refs, kube.NewRef(corev1.SchemeGroupVersion.WithKind("Node"), "", n.Name))
	}
	return refs
}

// controlRefs are the pods of the control plane, which the kubelets of its nodes run.
func controlRefs(nodes []container) []kube.Ref {
	var refs []kube.Ref
	for _, n := range nodes {
		if n.Role != controlRole {
			continue
		}
		for _, part := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
			refs = append(refs, kube.NewRef(corev1.SchemeGroupVersion.WithKind("Pod"), metav1.NamespaceSystem, part+"-"+n.Name))
		}
	}
	return refs
}

// systemWorkloads are the workloads of the namespaces that kind fills.
func systemWorkloads(ctx context.Context, client *kube.Client) ([]kube.Ref, error) {
	var refs []kube.Ref
	for _, namespace := range []string{metav1.NamespaceSystem, "local-path-storage"} {
		deployments, err := client.Typed().AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		for _, d := range deployments.Items {
			refs = append(refs, kube.NewRef(appsv1.SchemeGroupVersion.WithKind("Deployment"), namespace, d.Name))
		}
		daemons, err := client.Typed().AppsV1().DaemonSets(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		for _, d := range daemons.Items {
			refs = append(refs, kube.NewRef(appsv1.SchemeGroupVersion.WithKind("DaemonSet"), namespace, d.Name))
		}
	}
	return refs, nil
}

// versionFits compares the server's version with the wanted one, as far as that says.
func versionFits(c *providers.Cluster, wanted string) error {
	if providers.Fits(c.Version, wanted) {
		return nil
	}
	return fault.New(fault.Refused, "runs Kubernetes %s, the document requires %s", c.Version, wanted).On("cluster %s", c.Ref).
		WithHint("kind cannot change the version of a cluster: set spec.kubernetes.version to %s, or recreate it (rekindle down, then up), "+
			"with an image of the wanted version in spec.provider.kind.image", strings.TrimPrefix(c.Version, "v"))
}
