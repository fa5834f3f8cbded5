package gke

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rekindle-dev/rekindle/providers"
)

var _ providers.Outliving = (*Provider)(nil)

// Outliving implements providers.Outliving: GKE deletes neither load balancers nor disks with a cluster.
func (p *Provider) Outliving() []schema.GroupKind {
	return []schema.GroupKind{
		{Group: "gateway.networking.k8s.io", Kind: "Gateway"},
		{Group: "networking.k8s.io", Kind: "Ingress"},
		{Kind: "Service"},
		{Kind: "PersistentVolumeClaim"},
	}
}
