package traffic

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// addresses are where a cluster takes requests from outside, sorted, each once: IP addresses and names of its load
// balancers, as Services, Ingresses and Gateways tell them; without any, those of its nodes.
func addresses(ctx context.Context, c *kube.Client) ([]string, error) {
	set := map[string]bool{}
	for _, add := range []func(context.Context, *kube.Client, map[string]bool) error{addServices, addIngresses, addGateways} {
		if err := add(ctx, c, set); err != nil {
			return nil, err
		}
	}
	if len(set) == 0 {
		if err := addNodes(ctx, c, set); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(set)), nil
}

func addServices(ctx context.Context, c *kube.Client, set map[string]bool) error {
	list, err := c.Typed().CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the Services for their addresses: %w", err)
	}
	for i := range list.Items {
		if list.Items[i].Spec.Type != corev1.ServiceTypeLoadBalancer {
			continue
		}
		for _, at := range list.Items[i].Status.LoadBalancer.Ingress {
			add(set, at.IP, at.Hostname)
		}
	}
	return nil
}

func addIngresses(ctx context.Context, c *kube.Client, set map[string]bool) error {
	list, err := c.Typed().NetworkingV1().Ingresses("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the Ingresses for their addresses: %w", err)
	}
	for i := range list.Items {
		for _, at := range list.Items[i].Status.LoadBalancer.Ingress {
			add(set, at.IP, at.Hostname)
		}
	}
	return nil
}

// addGateways adds those of the Gateway API, which a cluster may not know.
func addGateways(ctx context.Context, c *kube.Client, set map[string]bool) error {
	mapping, err := c.Mapper().RESTMapping(schema.GroupKind{Group: "gateway.networking.k8s.io", Kind: "Gateway"})
	if meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := c.Dynamic().Resource(mapping.Resource).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil // the kind went just now
	}
	if err != nil {
		return fmt.Errorf("list the Gateways for their addresses: %w", err)
	}
	for i := range list.Items {
		at, _, _ := unstructured.NestedSlice(list.Items[i].Object, "status", "addresses") // what is no list has none
		for _, one := range at {
			if fields, ok := one.(map[string]any); ok {
				value, _ := fields["value"].(string)
				add(set, value)
			}
		}
	}
	return nil
}

// addNodes adds what the nodes are reached at from outside; without that, from beside them.
func addNodes(ctx context.Context, c *kube.Client, set map[string]bool) error {
	list, err := c.Typed().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the nodes for their addresses: %w", err)
	}
	for _, kind := range []corev1.NodeAddressType{corev1.NodeExternalIP, corev1.NodeInternalIP} {
		for i := range list.Items {
			for _, at := range list.Items[i].Status.Addresses {
				if at.Type == kind {
					add(set, at.Address)
				}
			}
		}
		if len(set) > 0 {
			return nil
		}
	}
	return nil
}

func add(set map[string]bool, addresses ...string) {
	for _, at := range addresses {
		if at != "" {
			set[at] = true
		}
	}
}
