package gke

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/rekindle-dev/rekindle/providers"
)

// real has nodes that run pods; they are made with their control plane.
type real struct {
	make func(nodes int) (providers.Provider, error)
}

func (b real) ensure(ctx context.Context, id string, nodes []*corev1.Node) (*rest.Config, error) {
	p, err := b.make(len(nodes))
	if err != nil {
		return nil, err
	}
	c, err := p.Ensure(ctx, providers.Spec{Name: id}, nil)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(c.REST)
	if err != nil {
		return nil, err
	}
	standard, err := client.StorageV1().StorageClasses().Get(ctx, "standard", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return c.REST, storageClasses(ctx, c.REST, standard.Provisioner)
}

// nodes gives the nodes that are there the labels and taints of those that are wanted.
func (b real) nodes(ctx context.Context, id string, want []*corev1.Node) error {
	config, err := b.access(ctx, id)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	have, err := takingPods(ctx, client)
	if err != nil {
		return err
	}
	if len(have) < len(want) {
		return fmt.Errorf("there are %d nodes and %d are wanted: they cannot be added to this kind of cluster", len(have), len(want))
	}
	for i, like := range want {
		err := retry.RetryOnConflict(retry.DefaultRetry, func() error { return dress(ctx, client, have[i].Name, like) })
		if err != nil {
			return err
		}
	}
	return nil
}

// takingPods are the nodes beside the control plane, or the control plane's own where it is the only one.
func takingPods(ctx context.Context, client kubernetes.Interface) ([]corev1.Node, error) {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) == 1 {
		return list.Items, err
	}
	return slices.DeleteFunc(list.Items, func(n corev1.Node) bool {
		_, control := n.Labels["node-role.kubernetes.io/control-plane"]
		return control
	}), nil
}

// dress gives a node the labels and taints of another, once.
func dress(ctx context.Context, client kubernetes.Interface, name string, like *corev1.Node) error {
	n, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil || n.Labels[poolLabel] != "" {
		return err
	}
	maps.Copy(n.Labels, like.Labels)
	n.Labels[corev1.LabelHostname] = name
	n.Spec.Taints = append(n.Spec.Taints, like.Spec.Taints...)
	_, err = client.CoreV1().Nodes().Update(ctx, n, metav1.UpdateOptions{})
	return err
}

// find gives the provider that made a control plane, whatever the number of its nodes.
func (b real) find(id string) (providers.Provider, providers.Ref, error) {
	p, err := b.make(1)
	return p, providers.Ref{Name: id}, err
}

func (b real) access(ctx context.Context, id string) (*rest.Config, error) {
	p, ref, err := b.find(id)
	if err != nil {
		return nil, err
	}
	return access(ctx, p, ref)
}

func (b real) delete(ctx context.Context, id string) error {
	p, ref, err := b.find(id)
	if err != nil {
		return err
	}
	return p.Delete(ctx, ref, nil)
}
