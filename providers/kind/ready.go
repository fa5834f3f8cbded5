package kind

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/internal/wait"
	"github.com/rekindle-dev/rekindle/providers"
)

// readyPause is the longest pause between two looks at the nodes.
const readyPause = 300 * time.Millisecond

func pause(ctx context.Context) error { return wait.Sleep(ctx, readyPause) }

// ready waits until the API server answers, every container is a Ready node, and the version is the
// wanted one.
func (p *Provider) ready(ctx context.Context, c *providers.Cluster, s providers.Spec, progress plan.Progress) error {
	client, err := kubernetes.NewForConfig(c.REST)
	if err != nil {
		return fmt.Errorf("cluster %s: %w", c.Ref, err)
	}
	nodes, err := p.runtime.list(ctx, c.Ref.Name)
	if err != nil {
		return err
	}
	condition := wait.Func("every node is Ready", func(ctx context.Context) (bool, string, error) {
		return nodesReady(ctx, client, wantedNodes(nodes))
	})
	if err := wait.Poll(ctx, condition, readyPause, progress); err != nil {
		return fault.Wrap(err, fault.Failed, "it never got ready").On("cluster %s", c.Ref).
			WithHint("look into it: docker exec %s journalctl -u kubelet --no-pager | tail -50", controlPlane(nodes).Name)
	}
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("cluster %s: %w", c.Ref, err)
	}
	c.Version = version.GitVersion
	return versionFits(c, s.Version)
}

// wantedNodes counts the containers that are Kubernetes nodes: an external load balancer is none.
func wantedNodes(all []container) int {
	n := 0
	for _, c := range all {
		if c.Role == "control-plane" || c.Role == "worker" {
			n++
		}
	}
	return n
}

// nodesReady looks once. An API server that does not answer is one that does not answer yet.
func nodesReady(ctx context.Context, client kubernetes.Interface, wanted int) (bool, string, error) {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, "the API server does not answer: " + err.Error(), nil
	}
	ready := 0
	var missing []string
	for _, n := range nodes.Items {
		if why := notReady(&n); why != "" {
			missing = append(missing, n.Name+": "+why)
			continue
		}
		ready++
	}
	if ready >= wanted {
		return true, "", nil
	}
	return false, strings.Join(append([]string{fmt.Sprintf("%d of %d", ready, wanted)}, missing...), ", "), nil
}

func notReady(n *corev1.Node) string {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			if c.Status == corev1.ConditionTrue {
				return ""
			}
			return c.Message
		}
	}
	return "the kubelet has not reported yet"
}

// versionFits compares the server's version with the wanted one, as far as that says.
func versionFits(c *providers.Cluster, wanted string) error {
	wanted = strings.TrimPrefix(wanted, "v")
	have := strings.TrimPrefix(c.Version, "v")
	if wanted == "" || have == wanted || strings.HasPrefix(have, wanted+".") || strings.HasPrefix(have, wanted+"-") {
		return nil
	}
	return fault.New(fault.Refused, "it runs Kubernetes %s, the document wants %s", c.Version, wanted).On("cluster %s", c.Ref).
		WithHint("the node image decides the version: set spec.provider.kind.image, or spec.kubernetes.version to %s", have)
}
