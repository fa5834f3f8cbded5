package kwok

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/rekindle-dev/rekindle/internal/config"
	"github.com/rekindle-dev/rekindle/providers"
)

// Foresee implements providers.Foreseer: the number of nodes is what can be changed in a cluster, and what somebody removed
// is put back.
func (p *Provider) Foresee(ctx context.Context, s providers.Spec) ([]string, error) {
	c, err := p.Find(ctx, p.ref(s.Name))
	if err != nil {
		return nil, err
	}
	client, err := rest.HTTPClientFor(c.REST)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	f, err := newFurnisher(c.REST, client)
	if err != nil {
		return nil, err
	}
	return f.foresee(ctx, p.nodes)
}

// foresee tells what furnish would change.
func (f *furnisher) foresee(ctx context.Context, count int) (changes []string, err error) {
	list, err := f.core.Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for i := range list.Items {
		have[list.Items[i].Name] = list.Items[i].Annotations[nodeAnnotation] != ""
	}
	for i := range count {
		name := nodeName(i)
		if _, ok := have[name]; !ok {
			changes = append(changes, "add node "+name)
		}
		delete(have, name)
	}
	for _, node := range list.Items {
		if have[node.Name] {
			changes = append(changes, "remove node "+node.Name)
		}
	}
	_, err = f.storage.StorageClasses().Get(ctx, storageClassName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return append(changes, "create storage class "+storageClassName), nil
	}
	if err != nil {
		return nil, fmt.Errorf("storage class %s: %w", storageClassName, err)
	}
	return changes, nil
}

// OnHost implements providers.HostRunner.
func (p *Provider) OnHost(ctx context.Context, r providers.Ref) ([]providers.HostProcess, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !config.IsName(r.Name) {
		return nil, providers.ErrNotFound
	}
	return p.hostSet(r.Name)
}
